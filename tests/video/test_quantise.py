"""The 16-bit scheme: nothing is clipped, the scale only doubles, rounding is half a code."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endodav.errors import OutputError
from endodav.video.quantise import Quantiser, decode, encode, next_full_scale

peaks = st.floats(0, float(np.finfo(np.float32).max), width=32)


@given(st.lists(peaks, min_size=1, max_size=20))
def test_full_scale_is_a_power_of_two_that_covers_every_peak(sequence: list[float]) -> None:
    full_scale = 0.0
    for peak in sequence:
        before, full_scale = full_scale, next_full_scale(full_scale, peak)
        assert full_scale >= max(before, peak)
        if peak > 0:
            assert math.frexp(full_scale)[0] == 0.5
            if before == 0:
                assert 2 * peak <= full_scale < 4 * peak
            elif full_scale > before:
                assert full_scale / 2 < peak


@given(st.lists(peaks, min_size=1, max_size=20))
def test_a_segment_for_each_change(sequence: list[float]) -> None:
    quantiser = Quantiser()
    full_scales = []
    for peak in sequence:
        quantiser.encode(np.full((1, 2), peak, np.float32))
        full_scales.append(quantiser.full_scale)
    assert quantiser.segments[0][0] == 0
    for first, full_scale in quantiser.segments:
        assert full_scales[first] == full_scale
        assert first == 0 or full_scales[first - 1] != full_scale
    assert len(quantiser.segments) == 1 + np.count_nonzero(np.diff(full_scales))


@given(peaks.filter(lambda peak: peak > 0), st.integers(0, 2**32 - 1))
def test_round_trip_errs_by_half_a_code_at_most(peak: float, seed: int) -> None:
    values = (peak * np.random.default_rng(seed).uniform(0, 1, (3, 4))).astype(np.float32)
    full_scale = next_full_scale(0.0, peak)
    read = decode(encode(values, full_scale), full_scale)
    error = np.abs(read.astype(np.float64) - values)
    subnormal = float(np.finfo(np.float32).smallest_subnormal)
    assert error.max() <= full_scale / 131070 + 2**-24 * peak + subnormal


def test_zeros_stay_zeros() -> None:
    zeros = np.zeros((2, 3), np.float32)
    assert next_full_scale(0.0, 0.0) == 0
    np.testing.assert_array_equal(decode(encode(zeros, 0.0), 0.0), zeros)


def test_negative_values_are_refused() -> None:
    with pytest.raises(OutputError, match="negative"):
        encode(np.full((2, 2), -1, np.float32), 1.0)
