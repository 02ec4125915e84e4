"""Frames that are in memory already, or that some other program makes one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from fractions import Fraction
from itertools import chain
from typing import Any

import numpy as np
import torch

from endodav.errors import InputError
from endodav.types import Frame, RGBImage, SourceInfo
from endodav.video.timing import Clock, between, frame_rate

DEFAULT_FPS = 25


def as_rgb(frame: Any) -> RGBImage:
    """Check one frame given by a caller: array or tensor, [height, width, 3], uint8.

    Raises:
        InputError: it is of another shape or type.
    """
    array = np.asarray(frame.cpu() if isinstance(frame, torch.Tensor) else frame)
    if array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise InputError(
            f"A frame has the shape {list(array.shape)}, but must be [height, width, 3] (RGB)."
        )
    if array.dtype != np.uint8:
        raise InputError(
            f"A frame is of type {array.dtype}, but must be uint8 in 0..255; "
            "for values in 0..1 pass (255 * frame).round() as uint8."
        )
    return array


class ArraySource:
    """A source of frames from memory, for tests and for programs that have frames of their own.

    Arrays, tensors and lists can be iterated again and again; an iterator only once, and lazily:
    one frame is drawn at once, to learn the size, the others when they are asked for.
    Frames of an iterator may change size on the way; `info` describes the first.

    Args:
        frames: NumPy array or torch tensor [time, height, width, 3], or an iterable of
            [height, width, 3], RGB, uint8. Arrays are not copied.
        fps: frames a second; frame k has the timestamp k / fps.
        name: what outputs call this input.

    Raises:
        InputError: there is no frame, or the first is not [height, width, 3] uint8.

    Example:
        >>> import numpy as np
        >>> source = ArraySource(np.zeros((3, 8, 10, 3), np.uint8), fps=30)
        >>> [str(frame.timestamp) for frame in source]
        ['0', '1/30', '1/15']
    """

    loss: str | None = None

    def __init__(
        self, frames: Iterable[Any], fps: float | Fraction = DEFAULT_FPS, name: str = "array"
    ) -> None:
        rate = frame_rate(fps)
        if getattr(frames, "ndim", 4) != 4:
            raise InputError(
                f"The frames have the shape {list(frames.shape)}, "  # type: ignore[attr-defined]
                "but must be [time, height, width, 3] (RGB)."
            )
        self._frames = frames
        self._once: Iterator[Any] | None = None
        iterator = iter(frames)
        first = next(iterator, None)
        if first is None:
            raise InputError("The input has no frames.")
        if isinstance(frames, Iterator):
            self._once = chain([first], iterator)
        height, width, _ = as_rgb(first).shape
        count = len(frames) if isinstance(frames, Sized) else None
        self.clock = Clock(begin=Fraction(0), period=1 / rate)
        self.info = SourceInfo(name, height, width, rate, count)

    def frames(self, start: Fraction | None = None, end: Fraction | None = None) -> Iterator[Frame]:
        """Frames with start <= timestamp < end.

        Raises:
            InputError: a frame is not [height, width, 3] uint8, or an iterator is used up.
        """
        if isinstance(self._frames, Iterator):
            if self._once is None:
                raise InputError(
                    "The iterator of frames has been used up; pass an array or a list of frames to "
                    "read it more than once."
                )
            arrays, self._once = self._once, None
        else:
            arrays = iter(self._frames)
        every = (Frame(as_rgb(array), k * self.clock.period, k) for k, array in enumerate(arrays))
        yield from between(every, start, end)

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def __enter__(self) -> ArraySource:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing is held open."""
