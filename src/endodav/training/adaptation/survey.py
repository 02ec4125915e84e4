"""The first pass over a video: its times, its cuts, its field of view; and the memory of it.

A long video takes minutes to go through, so what was found is kept in the cache folder until the
file changes.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from endodav.errors import InputError, PartialInputWarning
from endodav.files import written_whole
from endodav.inference.scene_cut import SceneCuts, thumbnail
from endodav.types import RGBImage
from endodav.video.decode import VIDEO_SUFFIXES
from endodav.video.images import IMAGE_SUFFIXES
from endodav.video.roi import (
    Circle,
    FieldOfView,
    Polygon,
    Rectangle,
    Whole,
    detect_field_of_view,
)
from endodav.video.source import open_source
from endodav.weights.licences import cache_folder

FIELD_FRAMES = 12  # that the field of view is found from
FIELD_STRIDE = 15
STILL = 0.5  # grey levels of 255 that thumbnails change by at most where nothing moves
FORMAT = 1  # of what is kept; another number is surveyed again
SHAPES = {shape.__name__: shape for shape in (Whole, Circle, Rectangle, Polygon)}


@dataclass(frozen=True)
class Video:
    """What is known of one video.

    Attributes:
        path: a file, or a folder of images.
        times: of its frames, in seconds.
        cuts: numbers of the frames that begin a new scene.
        field: where its frames show something.
        size: rows and columns.
        still: nothing in it ever moves.
    """

    path: Path
    times: tuple[Fraction, ...]
    cuts: tuple[int, ...]
    field: FieldOfView
    size: tuple[int, int]
    still: bool = False


def survey_cache() -> Path:
    """The folder in which commands remember surveys."""
    return cache_folder() / "surveys"


def find_videos(folder: Path) -> list[Path]:
    """Video files below a folder, and folders of images; a file is itself.

    Raises:
        InputError: there is nothing of that kind.
    """
    if folder.is_file():
        return [folder]
    below = sorted(path for path in folder.rglob("*") if not path.name.startswith("."))
    files = [path for path in below if path.suffix.lower() in VIDEO_SUFFIXES]
    images = {path.parent for path in below if path.suffix.lower() in IMAGE_SUFFIXES}
    if not files and not images:
        raise InputError(f"{folder} holds no video and no folder of images; check the path.")
    return sorted([*files, *images])


def survey(path: Path, cache: Path | None = None) -> Video:
    """What is known of a video; it is gone through once, and again when the file has changed.

    Args:
        path: a video file or a folder of images.
        cache: folder to remember it in; None to remember nothing.

    Raises:
        InputError: it cannot be read at all.
    """
    if cache is None or not path.exists():
        found = go_through(path)
    else:
        place = cache / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]}.json"
        state = _state_of(path)
        known = _recall(place, path, state)
        found = known or go_through(path)
        if known is None:
            _remember(place, found, state)
    if found.still:
        warnings.warn(
            f"{path} does not move, so there is nothing to learn from it.",
            PartialInputWarning,
            stacklevel=2,
        )
    return found


def go_through(path: Path) -> Video:
    """Decode a video once, holding one frame and a few for the field of view.

    Raises:
        InputError: it cannot be read at all.
    """
    times: list[Fraction] = []
    cuts: list[int] = []
    samples: list[RGBImage] = []
    detector = SceneCuts()
    previous, motion = None, 0.0
    with open_source(path) as source:
        for frame in source:
            seen = thumbnail(frame.image)
            if detector.begins_at(seen):
                cuts.append(frame.index)
            if previous is not None:
                motion = max(motion, float(np.abs(seen - previous).max()))
            if frame.index % FIELD_STRIDE == 0 and len(samples) < FIELD_FRAMES:
                samples.append(frame.image)
            previous = seen
            times.append(frame.timestamp)
        size = source.info.height, source.info.width
    field = detect_field_of_view(samples)
    return Video(path, tuple(times), tuple(cuts), field, size, motion < STILL)


def _state_of(path: Path) -> str:
    """A text that changes when a file does, or an image of a folder."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    states = [
        (file.name, (status := file.stat()).st_size, status.st_mtime_ns)
        for file in files
        if not path.is_dir() or file.suffix.lower() in IMAGE_SUFFIXES
    ]
    return hashlib.sha256(json.dumps([FORMAT, states]).encode()).hexdigest()


def _recall(place: Path, path: Path, state: str) -> Video | None:
    """What is remembered of a video in that state; None where nothing is, or it is damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        kept: Mapping[str, Any] = json.loads(place.read_text())
        if kept["state"] == state:
            rows, columns = kept["size"]
            return Video(
                path,
                tuple(Fraction(time) for time in kept["times"]),
                tuple(kept["cuts"]),
                _shape(kept["field"]),
                (rows, columns),
                kept["still"],
            )
    return None


def _remember(place: Path, video: Video, state: str) -> None:
    """Keep a survey; a folder that cannot be written only costs the next run its time."""
    kept = {
        "path": str(video.path.resolve()),
        "state": state,
        "times": [str(time) for time in video.times],
        "cuts": video.cuts,
        "field": {"shape": type(video.field).__name__, **asdict(video.field)},
        "size": video.size,
        "still": video.still,
    }
    with suppress(OSError), written_whole(place) as partial:
        partial.write_text(json.dumps(kept))


def _shape(kept: Mapping[str, Any]) -> FieldOfView:
    values = {name: value for name, value in kept.items() if name != "shape"}
    if "corners" in values:
        values["corners"] = tuple((x, y) for x, y in values["corners"])
    return SHAPES[kept["shape"]](**values)
