"""The rendered benchmark: fixed videos from seeds that no training uses, made by worker processes.

A video is finished when its folder has its final name, so an interrupted run is taken up where it
was left. When all are finished, `manifest.json` says what they are and which bytes they hold.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import platform
import shutil
import signal
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from endodav.errors import OutputError
from endodav.synthetic.clip import GENERATION, render_clip
from endodav.synthetic.writer import partial_name, write_clip

FIRST_SEED = 2_000_000_000  # training uses seeds below 1e9, and a watched run a few from there on
LIBRARIES = ("endodav", "torch", "numpy", "av", "pillow")  # whose versions may change a byte


@dataclass(frozen=True)
class Video:
    """One video of a benchmark.

    Attributes:
        name: of its folder.
        family: kind of scene.
        seed: of `render_clip`.
    """

    name: str
    family: str
    seed: int


@dataclass(frozen=True)
class Benchmark:
    """A fixed set of rendered videos.

    Attributes:
        name: of the set; a change of anything below asks for another name.
        videos: what to render.
        frames: of each video.
        height: rows.
        width: columns.
        fps: frames a second of the encoded videos.
    """

    name: str
    videos: tuple[Video, ...]
    frames: int
    height: int
    width: int
    fps: float

    @property
    def total_frames(self) -> int:
        """Frames of all videos together."""
        return self.frames * len(self.videos)


FAMILIES = ("colon", "stomach", "laparoscopy", "airway")
SEEDS_PER_FAMILY = 3

RENDERED = Benchmark(
    name=f"rendered-{GENERATION}",
    videos=tuple(
        Video(f"{family}_{k}", family, FIRST_SEED + SEEDS_PER_FAMILY * number + k)
        for number, family in enumerate(FAMILIES)
        for k in range(SEEDS_PER_FAMILY)
    ),
    frames=300,
    height=224,
    width=280,
    fps=25.0,
)


def render_benchmark(
    folder: Path, benchmark: Benchmark = RENDERED, workers: int = 2
) -> Iterator[Video]:
    """Render what is missing of a benchmark into `folder` and describe it in `manifest.json`.

    Args:
        folder: gets one folder a video (see `write_clip`).
        benchmark: what to render.
        workers: processes that render at the same time, with one thread each.

    Yields:
        Each video once it is finished, those that were there already first.

    Raises:
        OutputError: if a folder holds another video or cannot be written, or a process was killed.
    """
    finished = [video for video in benchmark.videos if _is_finished(folder, benchmark, video)]
    yield from finished
    missing = [video for video in benchmark.videos if video not in finished]
    yield from _render_all(folder, benchmark, missing, workers)
    _write_manifest(folder, benchmark)


def _is_finished(folder: Path, benchmark: Benchmark, video: Video) -> bool:
    """Whether a folder of that name is there, which must then hold that video."""
    target = folder / video.name
    if not target.exists():
        return False
    wanted = asdict(video) | asdict(benchmark) | {"generation": GENERATION}
    try:
        found = json.loads((target / "meta.json").read_text())
        keys = ("generation", "family", "seed", "frames", "height", "width")
        same = all(found[key] == wanted[key] for key in keys)
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise OutputError(
            f"{target} does not hold video {video.name} of benchmark {benchmark.name}; "
            "delete it or choose another folder."
        )
    return True


def _render_all(
    folder: Path, benchmark: Benchmark, videos: list[Video], workers: int
) -> Iterator[Video]:
    """Render videos, `workers` at a time, and yield them as they are finished.

    A process a video: its memory is given back, and a killed one is noticed.
    """
    context = multiprocessing.get_context("spawn")
    waiting = list(reversed(videos))
    running: dict[Connection, tuple[SpawnProcess, Video]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                video = waiting.pop()
                result, sender = context.Pipe(duplex=False)
                process = context.Process(
                    target=_render_one, args=(folder, benchmark, video, sender), daemon=True
                )
                process.start()
                sender.close()
                running[result] = (process, video)
            ended = wait(list(running))
            for result in [result for result in running if result in ended]:
                process, video = running[result]
                _raise_failure(result, video)
                process.join()
                del running[result]
                yield video
    finally:
        for process, video in running.values():
            process.terminate()
            process.join()
            shutil.rmtree(partial_name(folder / video.name), ignore_errors=True)


def _render_one(folder: Path, benchmark: Benchmark, video: Video, sender: Connection) -> None:
    """Work of a process: send None when the video is there, else the exception that stopped it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us on Ctrl-C
    torch.set_num_threads(1)
    try:
        # consistency over time is measured with a pinhole, as on the rectified public datasets
        clip = render_clip(
            video.seed,
            benchmark.frames,
            benchmark.height,
            benchmark.width,
            video.family,
            rectified=True,
        )
        write_clip(clip, folder / video.name, benchmark.fps)
    except Exception as error:
        sender.send(error)
    else:
        sender.send(None)


def _raise_failure(result: Connection, video: Video) -> None:
    try:
        failure = result.recv()
    except EOFError:
        raise OutputError(
            f"the process that rendered {video.name} was killed, perhaps for want of memory; "
            "run the same command again with fewer workers."
        ) from None
    if failure is not None:
        raise failure


def _write_manifest(folder: Path, benchmark: Benchmark) -> None:
    """Written last and at once, so that a manifest means a whole benchmark."""
    description = asdict(benchmark)
    for video in description["videos"]:
        video["sha256"] = _digests(folder / video["name"])
    description |= {
        "description": (
            f"{len(benchmark.videos)} rendered endoscopic videos with exact depth and pose; each "
            "is a function of its family and seed alone. Training never uses these seeds."
        ),
        "digest": "SHA-256 of a file, or of a folder's files one after the other, sorted by name",
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in LIBRARIES},
        "machine": platform.machine(),
    }
    partial = partial_name(folder / "manifest.json")
    partial.write_text(json.dumps(description, indent=2) + "\n")
    partial.replace(folder / "manifest.json")


def _digests(folder: Path) -> dict[str, str]:
    """A digest for each file of a video, and one for each folder of frames."""
    digests = {}
    for entry in sorted(folder.iterdir()):
        digest = hashlib.sha256()
        for file in sorted(entry.iterdir()) if entry.is_dir() else [entry]:
            digest.update(file.read_bytes())
        digests[entry.name] = digest.hexdigest()
    return digests
