"""The laws of ranges and of resampling by time."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endodav.errors import InputError
from endodav.types import Frame
from endodav.video.timing import (
    Clock,
    between,
    count_frames,
    frame_rate,
    resample,
    time_range,
)

PIXEL = np.zeros((1, 1, 3), np.uint8)

rates = st.fractions(min_value=Fraction(1, 2), max_value=120, max_denominator=1001)
gaps = st.fractions(min_value=Fraction(1, 500), max_value=2, max_denominator=500)


@st.composite
def variable_rate_frames(draw: st.DrawFn) -> list[Frame]:
    """Frames at irregular times; each has an image of its own, to be told apart by identity."""
    time = draw(st.fractions(min_value=-1, max_value=5, max_denominator=100))
    frames = []
    for index, gap in enumerate(draw(st.lists(gaps, min_size=1, max_size=12))):
        frames.append(Frame(PIXEL.copy(), time, index))
        time += gap
    return frames


def constant_rate_frames(count: int, clock: Clock) -> list[Frame]:
    return [Frame(PIXEL.copy(), clock.begin + k * clock.period, k) for k in range(count)]


def clock_of(frames: list[Frame], period: Fraction = Fraction(1, 25)) -> Clock:
    return Clock(frames[0].timestamp, period)


@given(variable_rate_frames(), rates)
def test_each_output_is_the_latest_frame_that_is_not_after_it(
    frames: list[Frame], fps: Fraction
) -> None:
    for output in resample(frames, fps, clock_of(frames)):
        right = [frame for frame in frames if frame.timestamp <= output.timestamp][-1]
        assert output.image is right.image


@given(variable_rate_frames(), rates)
def test_output_times_are_regular_and_start_with_the_first_frame(
    frames: list[Frame], fps: Fraction
) -> None:
    outputs = list(resample(frames, fps, clock_of(frames)))
    begin = frames[0].timestamp
    assert [out.timestamp for out in outputs] == [begin + k / fps for k in range(len(outputs))]
    assert [out.index for out in outputs] == list(range(len(outputs)))


@given(variable_rate_frames(), rates, gaps)
def test_resampling_keeps_the_duration(
    frames: list[Frame], fps: Fraction, period: Fraction
) -> None:
    duration = frames[-1].timestamp + period - frames[0].timestamp
    count = len(list(resample(frames, fps, clock_of(frames, period))))
    assert duration <= count / fps < duration + 1 / fps


@given(variable_rate_frames())
def test_without_a_rate_resampling_is_the_identity(frames: list[Frame]) -> None:
    outputs = list(resample(frames, None, clock_of(frames)))
    assert all(out is frame for out, frame in zip(outputs, frames, strict=True))


@given(st.integers(1, 40), rates)
def test_resampling_to_the_rate_it_has_changes_nothing(count: int, fps: Fraction) -> None:
    clock = Clock(Fraction(1, 3), 1 / fps)
    frames = constant_rate_frames(count, clock)
    outputs = list(resample(frames, fps, clock))
    assert [(out.timestamp, id(out.image)) for out in outputs] == [
        (frame.timestamp, id(frame.image)) for frame in frames
    ]


@given(st.integers(1, 200), st.integers(0, 100), st.sampled_from([24, 30, 48, 60, 120]))
def test_timestamps_rounded_to_milliseconds_resample_without_loss(
    count: int, first: int, fps: int
) -> None:
    exact = [Fraction(first + k, fps) for k in range(count)]
    frames = [
        Frame(PIXEL.copy(), Fraction(round(time * 1000), 1000), k) for k, time in enumerate(exact)
    ]
    clock = Clock(frames[0].timestamp, Fraction(1, fps), rounding=Fraction(1, 1000))
    outputs = list(resample(frames, Fraction(fps), clock))
    assert [id(out.image) for out in outputs] == [id(frame.image) for frame in frames]


@given(variable_rate_frames(), rates, st.fractions(0, 8, max_denominator=100))
def test_no_output_is_at_or_after_the_end(
    frames: list[Frame], fps: Fraction, length: Fraction
) -> None:
    end = frames[0].timestamp + length
    inside = between(frames, None, end)
    assert all(out.timestamp < end for out in resample(inside, fps, clock_of(frames), end))


@given(variable_rate_frames(), st.fractions(-2, 8), st.fractions(-2, 8))
def test_between_keeps_exactly_the_range(
    frames: list[Frame], start: Fraction, end: Fraction
) -> None:
    kept = list(between(frames, start, end))
    assert [out.timestamp for out in kept] == [
        frame.timestamp for frame in frames if start <= frame.timestamp < end
    ]
    assert [out.index for out in kept] == list(range(len(kept)))


def test_between_reads_one_frame_past_the_end_and_no_more() -> None:
    frames = iter(constant_rate_frames(10, Clock(Fraction(0), Fraction(1))))
    assert len(list(between(frames, None, Fraction(3)))) == 3
    assert next(frames).index == 4


@given(
    st.integers(1, 30),
    rates,
    st.none() | st.fractions(-1, 20, max_denominator=50),
    st.none() | st.fractions(-1, 20, max_denominator=50),
    st.none() | rates,
)
def test_the_count_is_exact_at_a_constant_rate(
    total: int,
    rate: Fraction,
    start: Fraction | None,
    end: Fraction | None,
    fps: Fraction | None,
) -> None:
    clock = Clock(Fraction(1, 7), 1 / rate)
    inside = between(constant_rate_frames(total, clock), start, end)
    delivered = len(list(resample(inside, fps, clock, end)))
    assert count_frames(total, clock, start, end, fps) == delivered


@given(variable_rate_frames(), rates)
def test_resampled_times_increase(frames: list[Frame], fps: Fraction) -> None:
    times = [out.timestamp for out in resample(frames, fps, clock_of(frames))]
    assert all(earlier < later for earlier, later in pairwise(times))


def test_bounds_are_the_decimal_numbers_that_were_written() -> None:
    assert time_range(0.1, 1.3) == (Fraction(1, 10), Fraction(13, 10))
    assert time_range(None, None) == (None, None)
    assert frame_rate(29.97) == Fraction(2997, 100)
    assert frame_rate(Fraction(30000, 1001)) == Fraction(30000, 1001)


@pytest.mark.parametrize(("start", "end"), [(2.0, 1.0), (1.0, 1.0), (None, 0.0), (float("nan"), 1)])
def test_an_impossible_range_is_refused(start: float | None, end: float) -> None:
    with pytest.raises(InputError, match=r"empty|finite"):
        time_range(start, end)


@pytest.mark.parametrize("fps", [0, -5, float("inf"), float("nan")])
def test_an_impossible_rate_is_refused(fps: float) -> None:
    with pytest.raises(InputError, match="positive"):
        frame_rate(fps)
