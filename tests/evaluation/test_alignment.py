"""Scale and shift by each rule, against NumPy, whole and in parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from endodav.errors import InputError
from endodav.evaluation.alignment import (
    Fit,
    Pair,
    least_squares,
    least_squares_or_mean,
    median_and_deviation,
    median_ratio,
    medians,
)

FITS = (least_squares, median_ratio, median_and_deviation)


def pair(size: int = 60, seed: int = 0) -> Pair:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(5, 100, size)
    return Pair(0.3 * truth + rng.uniform(0, 4, size), truth)


def parts(whole: Pair, *cuts: int) -> list[Pair]:
    pieces = [np.split(values, cuts) for values in whole]
    return [Pair(*piece) for piece in zip(*pieces, strict=True)]


@given(
    hnp.arrays(
        np.float32,
        st.integers(1, 40),
        elements=st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, -0.0, 1.0]),
    )
)
def test_medians_are_numpys(values: np.ndarray) -> None:
    assert medians([Pair(values, -values)]) == pytest.approx(
        (np.median(values.astype(np.float64)), np.median(-values.astype(np.float64)))
    )


@pytest.mark.parametrize("fit", FITS)
def test_parts_fit_like_the_whole(fit: Fit) -> None:
    whole, pieces = fit([pair()]), fit(parts(pair(), 1, 13, 40))
    assert (pieces.scale, pieces.shift) == pytest.approx((whole.scale, whole.shift))


@pytest.mark.parametrize("fit", [least_squares, median_and_deviation])
@given(scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_a_known_scale_and_shift_are_recovered(fit: Fit, scale: float, shift: float) -> None:
    truth = pair().truth
    found = fit([Pair((truth - shift) / scale, truth)])
    assert (found.scale, found.shift) == pytest.approx((scale, shift), rel=1e-4, abs=1e-3)


@given(scale=st.floats(0.01, 100))
def test_a_known_scale_is_recovered_by_medians(scale: float) -> None:
    truth = pair().truth
    found = median_ratio([Pair(truth / scale, truth)])
    assert (found.scale, found.shift) == (pytest.approx(scale), 0)


def test_least_squares_is_polyfit() -> None:
    x, y = pair()
    found = least_squares([Pair(x, y)])
    assert [found.scale, found.shift] == pytest.approx(np.polyfit(x, y, 1))


def test_median_and_deviation_by_hand() -> None:
    x, y = np.array([1.0, 2.0, 6.0]), np.array([10.0, 30.0, 80.0])
    found = median_and_deviation([Pair(x, y)])
    scale = (20 + 0 + 50) / (1 + 0 + 4)
    assert (found.scale, found.shift) == pytest.approx((scale, 30 - 2 * scale))


@pytest.mark.parametrize("fit", [least_squares, median_and_deviation])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_a_constant_is_refused(fit: Fit, value: float) -> None:
    with pytest.raises(InputError, match="the same at every usable pixel"):
        fit([Pair(np.full(7, value), np.arange(1.0, 8.0))])


def test_a_constant_is_aligned_to_the_mean_where_that_is_wanted() -> None:
    found = least_squares_or_mean([Pair(np.full(7, 0.1), np.arange(1.0, 8.0))])
    assert (found.scale, found.shift) == (0, 4)


def test_a_median_of_zero_is_refused() -> None:
    with pytest.raises(InputError, match="median of the predicted depth is 0"):
        median_ratio([Pair(np.zeros(7), np.arange(1.0, 8.0))])
