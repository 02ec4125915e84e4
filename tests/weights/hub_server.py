"""A small hub on the loopback: what `hf_hub_download` needs of it, and ways to go wrong."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"
# How the hub names its refusals: (status, X-Error-Code)
REFUSALS = {
    "no-repo": (404, "RepoNotFound"),
    "no-file": (404, "EntryNotFound"),
    "gated": (403, "GatedRepo"),
    "unauthorised": (401, "GatedRepo"),
}


@dataclass
class Hub:
    """Files by "repo/name", refusals by repo, and a record of the requests answered.

    Attributes:
        files: "owner/repo/file" to its bytes.
        refusals: "owner/repo" to a key of `REFUSALS`.
        cut: number of GET answers that break off half-way.
        requests: (method, path, Range header) of each request, in order.
        url: where it listens.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *args: object) -> None:
        """Keep the test output clean."""

    def _answer(self, with_body: bool) -> None:
        self.hub.requests.append((self.command, self.path, self.headers.get("Range")))
        path = unquote(self.path).lstrip("/")
        if path.startswith("cdn/"):  # where large files are redirected to
            self._send_file(path.removeprefix("cdn/"), with_body)
            return
        repo, _, rest = path.partition("/resolve/")
        name = f"{repo}/{rest.partition('/')[2]}"
        known = any(file.startswith(f"{repo}/") for file in self.hub.files)
        refusal = self.hub.refusals.get(repo, "no-file" if known else "no-repo")
        if name in self.hub.files and repo not in self.hub.refusals:
            self._redirect(name)
        else:
            status, code = REFUSALS[refusal]
            self._send(status, {"X-Error-Code": code})

    def _redirect(self, name: str) -> None:
        content = self.hub.files[name]
        headers = {
            "Location": f"{self.hub.url}/cdn/{name}",
            "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Linked-Size": str(len(content)),
        }
        self._send(302, headers)

    def _send_file(self, name: str, with_body: bool) -> None:
        content = self.hub.files[name]
        first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        body = content[first:]
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "Accept-Ranges": "bytes"}
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        if with_body and self.hub.cut > 0:
            self.hub.cut -= 1
            self._send(206 if first else 200, headers, length=len(body))
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        self._send(206 if first else 200, headers, length=len(body))
        if with_body:
            self.wfile.write(body)

    def _send(self, status: int, headers: dict[str, str], length: int = 0) -> None:
        self.send_response(status)
        for name, value in (
            {"X-Repo-Commit": COMMIT, "Content-Length": str(length)} | headers
        ).items():
            self.send_header(name, value)
        self.end_headers()


@contextmanager
def serve() -> Iterator[Hub]:
    """Run a hub in a thread until the context ends."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
