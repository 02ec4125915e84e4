"""Any video in: files, folders of images and frames in memory as one lazy source of frames."""

from __future__ import annotations

import glob
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from endodav.errors import InputError, RecipeError
from endodav.types import Frame, SourceInfo
from endodav.video.ahead import ahead, queue_length
from endodav.video.arrays import DEFAULT_FPS, ArraySource
from endodav.video.decode import AUTO, NONE, VideoFile
from endodav.video.images import IMAGE_SUFFIXES, ImageSequence, find_images
from endodav.video.timing import count_frames, frame_rate, resample, time_range

__all__ = ["ArraySource", "MediaSource", "each_of", "open_source"]

Made = TypeVar("Made")

RGB_BYTES = 3  # of a pixel


# Each has `info`, `clock` and `loss`, and `frames(start, end)`, which begins anew where it can.
_Reader = VideoFile | ImageSequence | ArraySource


class MediaSource:
    """Frames of one input within a range of time and at a chosen rate; made by `open_source`.

    Memory does not grow with the length of the input. Frames of files are decoded ahead by a thread
    of their own, see `endodav.video.ahead`; frames in memory come from the caller's, when they are
    asked for. Leaving the context closes files that an unfinished iteration holds open.
    """

    def __init__(
        self,
        reader: _Reader,
        start: Fraction | None,
        end: Fraction | None,
        fps: Fraction | None,
    ) -> None:
        self._reader = reader
        self._start, self._end, self._fps = start, end, fps
        self._running: list[Generator[Any, None, None]] = []

    @property
    def info(self) -> SourceInfo:
        """Size, rate and expected number of frames of what is delivered, not of the whole input."""
        info, count = self._reader.info, self._reader.info.frame_count
        if count is not None:
            count = count_frames(count, self._reader.clock, self._start, self._end, self._fps)
        return replace(info, fps=self._fps or info.fps, frame_count=count)

    @property
    def loss(self) -> str | None:
        """After iteration: one sentence on what could not be read, None if nothing was lost."""
        return self._reader.loss

    def __iter__(self) -> Iterator[Frame]:
        return self.each(lambda frame: frame)

    def each(self, work: Callable[[Frame], Made]) -> Iterator[Made]:
        """What `work` makes of every frame; of files, ahead, in the thread that decodes them."""
        made = self._deliver(work)
        if not isinstance(self._reader, ArraySource):
            info = self._reader.info
            made = ahead(made, queue_length(info.height * info.width * RGB_BYTES))
        self._running.append(made)
        return made

    def _deliver(self, work: Callable[[Frame], Made]) -> Generator[Made, None, None]:
        inside = self._reader.frames(self._start, self._end)
        empty = True
        for frame in resample(inside, self._fps, self._reader.clock, self._end):
            empty = False
            yield work(frame)
        if empty:
            raise InputError(self._nothing_inside())

    def _nothing_inside(self) -> str:
        info, begin = self._reader.info, self._reader.clock.begin
        start = "its start" if self._start is None else f"{float(self._start):g} s"
        end = "its end" if self._end is None else f"{float(self._end):g} s"
        message = f"{info.name} has no frame from {start} to {end}; it begins at {float(begin):g} s"
        if info.frame_count is None:
            return message + "."
        stop = begin + info.frame_count * self._reader.clock.period
        return f"{message} and ends at about {float(stop):g} s."

    def __enter__(self) -> MediaSource:
        return self

    def __exit__(self, *exc: object) -> None:
        for frames in self._running:
            frames.close()
        self._running.clear()


def each_of(frames: Iterable[Frame], work: Callable[[Frame], Made]) -> Iterator[Made]:
    """What `work` makes of every frame, where the frames are made if they come from files."""
    return frames.each(work) if isinstance(frames, MediaSource) else map(work, frames)


def _open_path(
    spec: str | Path, fps: Fraction | None, hwaccel: str
) -> tuple[_Reader, Fraction | None]:
    """The reader of a path, and the rate to resample it to: images take `fps` as their own."""
    path = Path(spec).expanduser()
    if path.is_dir():
        images = find_images(path)
    elif path.exists() and path.suffix.lower() not in IMAGE_SUFFIXES:
        return VideoFile(path, hwaccel), fps
    elif path.exists():
        images = [path]
    elif glob.has_magic(str(path)):
        anchor = Path(path.anchor)
        images = find_images(anchor, str(path.relative_to(anchor)))
    else:
        raise InputError(f"There is no file or folder {path}; check the spelling.")
    return ImageSequence(images, fps or Fraction(DEFAULT_FPS), path.name or str(path)), None


def open_source(
    spec: str | Path | Iterable[Any],
    *,
    start: float | Fraction | None = None,
    end: float | Fraction | None = None,
    fps: float | Fraction | None = None,
    hwaccel: str = NONE,
) -> MediaSource:
    """Open any video input as a lazy source of RGB frames with exact timestamps.

    Args:
        spec: a video file; a folder of images, a glob pattern or one image; or frames in memory:
            an `ArraySource`, an array or tensor [time, height, width, 3] uint8, or an iterable of
            frames [height, width, 3].
        start: deliver frames from this time on, in seconds on the input's own timestamps.
        end: deliver frames before this time, in seconds.
        fps: resample by time to this rate, so that the duration stays; see `timing.resample`.
            Images and plain arrays have no times of their own and take it as their rate (25 if
            it is not given).
        hwaccel: hardware that decodes a video file: "none", "auto" (where there is any) or FFmpeg's
            name, as "cuda".

    Returns:
        A context manager to iterate over; again and again, unless `spec` is an iterator.

    Raises:
        InputError: the input does not exist or cannot be read, or has no frame in the range.
        RecipeError: the hardware asked for by name cannot decode the input.

    Example:
        >>> import numpy as np
        >>> with open_source(np.zeros((50, 8, 8, 3), np.uint8), start=0.5, end=1.0) as source:
        ...     print(source.info.frame_count, [float(f.timestamp) for f in source][:2])
        12 [0.52, 0.56]
    """
    first, last = time_range(start, end)
    rate = None if fps is None else frame_rate(fps)
    reader: _Reader
    if isinstance(spec, str | Path):
        try:
            reader, rate = _open_path(spec, rate, hwaccel)
        except OSError as error:
            raise InputError(f"{spec} cannot be opened: {error.strerror or error}.") from error
    elif isinstance(spec, ArraySource):
        reader = spec
    else:
        reader, rate = ArraySource(spec, rate or DEFAULT_FPS), None
    if hwaccel not in (AUTO, NONE) and not isinstance(reader, VideoFile):
        raise RecipeError(
            f"Only video files are decoded by hardware, not {reader.info.name}; "
            "leave --hwaccel out."
        )
    source = MediaSource(reader, first, last, rate)
    if (start, end) != (None, None) and (
        isinstance(reader, VideoFile) or source.info.frame_count == 0
    ):
        with source:  # an empty range is better told now than after a model has been loaded
            next(iter(source))
    return source
