"""Time arithmetic of sources: which frames lie in a range, and resampling that keeps the duration.

All times are exact fractions of a second, so that no frame is lost or doubled by rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain

from endodav.errors import InputError
from endodav.types import Frame


@dataclass(frozen=True)
class Clock:
    """How a source tells time.

    Attributes:
        begin: timestamp of the first frame in seconds.
        period: nominal time from one frame to the next, in seconds; how long the last one is shown.
        rounding: how far, in seconds, two timestamps may be off against each other because the
            container counts in ticks too coarse for its rate (Matroska writes 1/30 s as 33 ms).
    """

    begin: Fraction
    period: Fraction
    rounding: Fraction = Fraction(0)


def as_fraction(value: float | Fraction) -> Fraction:
    """The decimal number a user wrote: 0.1 is 1/10, not the binary fraction just above it."""
    return value if isinstance(value, Fraction) else Fraction(repr(float(value)))


def time_range(
    start: float | Fraction | None, end: float | Fraction | None
) -> tuple[Fraction | None, Fraction | None]:
    """Check a range given by a user and make it exact.

    Raises:
        InputError: a bound is not finite, or the range is empty.
    """
    for name, bound in (("start", start), ("end", end)):
        if bound is not None and not math.isfinite(bound):
            raise InputError(f"{name} is {bound}, but must be a finite number of seconds.")
    first, last = (None if bound is None else as_fraction(bound) for bound in (start, end))
    if last is not None and last <= (first or 0):
        raise InputError(
            f"The range from {float(first or 0):g} s to {float(last):g} s is empty; "
            "end must be later than start."
        )
    return first, last


def frame_rate(fps: float | Fraction) -> Fraction:
    """Check a frame rate given by a user and make it exact.

    Raises:
        InputError: it is not finite and positive.
    """
    if not math.isfinite(fps) or fps <= 0:
        raise InputError(f"fps is {fps}, but must be a positive number of frames a second.")
    return as_fraction(fps)


def is_inside(time: Fraction, start: Fraction | None, end: Fraction | None) -> bool:
    """Whether start <= time < end; None leaves that side open."""
    return (start is None or start <= time) and (end is None or time < end)


def between(
    frames: Iterable[Frame], start: Fraction | None, end: Fraction | None
) -> Iterator[Frame]:
    """The frames with start <= timestamp < end, numbered from 0; reads no further than needed."""
    index = 0
    for frame in frames:
        if end is not None and frame.timestamp >= end:
            return
        if start is None or frame.timestamp >= start:
            yield Frame(frame.image, frame.timestamp, index)
            index += 1


def resample(
    frames: Iterable[Frame],
    fps: Fraction | None,
    clock: Clock,
    end: Fraction | None = None,
) -> Iterator[Frame]:
    """Frames at the times begin + k / fps, each the latest source frame that is not after its time.

    Going down in rate drops frames, going up repeats them (the same array, not a copy). The source
    is taken to last until its last timestamp plus one period, or until `end` if that is sooner;
    outputs cover this duration to within 1 / fps.

    Args:
        frames: in order of time.
        fps: output frames a second; None passes the frames on as they are.
        clock: of the source; a frame up to `clock.rounding` after a time counts as not after it.
        end: no output is at or after this time, in seconds.
    """
    if fps is None:
        yield from frames
        return
    iterator = iter(frames)
    current = next(iterator, None)
    if current is None:
        return
    begin, index = current.timestamp, 0
    for following in chain(iterator, [None]):
        if following is not None:
            shown_until = following.timestamp
        else:
            shown_until = current.timestamp + clock.period
            shown_until = shown_until if end is None else min(shown_until, end)
        while (time := begin + index / fps) < shown_until - clock.rounding:
            yield Frame(current.image, time, index)
            index += 1
        current = following or current


def count_frames(
    total: int,
    clock: Clock,
    start: Fraction | None = None,
    end: Fraction | None = None,
    fps: Fraction | None = None,
) -> int:
    """How many of `total` frames `between` and `resample` deliver; exact at a constant rate.

    Args:
        total: frames in the whole source, `clock.period` apart.
        clock: of the source.
        start: as in `between`.
        end: as in `between`.
        fps: as in `resample`.
    """

    def position(time: Fraction) -> int:
        return min(max(math.ceil((time - clock.begin) / clock.period), 0), total)

    first = 0 if start is None else position(start)
    last = total if end is None else position(end)
    if fps is None or last <= first:
        return max(last - first, 0)
    shown_until = clock.begin + last * clock.period
    shown_until = shown_until if end is None else min(shown_until, end)
    return math.ceil((shown_until - clock.begin - first * clock.period) * fps)
