"""A small hub on the loopback: what `hf_hub_download` needs of it, and ways to go wrong."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
from huggingface_hub import constants

from endodav.models.presets import PRESETS, EncoderConfig, HeadConfig, ModelPreset
from endodav.weights import hub as weights_hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
# How the hub names its refusals: (status, X-Error-Code)
REFUSALS = {
    "no-repo": (404, "RepoNotFound"),
    "no-file": (404, "EntryNotFound"),
    "gated": (403, "GatedRepo"),
    "unauthorised": (401, "GatedRepo"),
    "forbidden": (403, ""),
    "broken": (500, ""),
}


@dataclass
class Hub:
    """Files by "repo/name", refusals by repo, and a record of the requests answered.

    Attributes:
        files: "owner/repo/file" to its bytes.
        refusals: "owner/repo" to a key of `REFUSALS`.
        cut: number of GET answers that break off half-way.
        shortened: whether GET answers are complete but hold less than the file.
        requests: (method, path, Range header) of each request, in order.
        url: where it listens.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    shortened: bool = False
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
        body = content[first : -1 if self.hub.shortened and with_body else None]
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


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own for what is remembered between runs; retries follow at once."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setenv("ENDODAV_CACHE", str(tmp_path / "endodav"))
    return tmp_path


@pytest.fixture
def hub(caches: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A running hub that the real client asks instead of huggingface.co."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        # the client reads HF_ENDPOINT only when it is imported
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield hub
        server.shutdown()
        thread.join()


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModelPreset], ModelPreset]:
    """Add a preset, or replace one, for the test."""

    def add(preset: ModelPreset) -> ModelPreset:
        monkeypatch.setattr(weights_hub, "PRESETS", weights_hub.PRESETS | {preset.name: preset})
        return preset

    return add


@pytest.fixture
def toy(register: Callable[[ModelPreset], ModelPreset]) -> ModelPreset:
    """Video Depth Anything at a size that builds at once, as a preset with a file on the hub."""
    return register(
        replace(
            PRESETS["video-depth-anything-small"],
            name="toy",
            encoder=EncoderConfig(width=24, depth=4, heads=3, taps=(0, 1, 2, 3), image_size=28),
            head=HeadConfig(features=32, out_channels=(8, 16, 32, 32)),
            repo_id="someone/toy",
            filename="toy.pth",
        )
    )
