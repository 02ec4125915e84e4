"""Metrics against independent definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from endodav.evaluation.metrics import DepthSums, compute, spearman, update


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), levels=st.integers(2, 50))
def test_spearman_is_scipys_also_with_ties(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.integers(levels, size=100).astype(np.float64)
    b = a + rng.integers(levels, size=100)
    a[0], a[1], b[0], b[1] = 0.0, 1.0, 0.0, 1.0  # neither is constant
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)


def test_spearman_of_a_constant_is_zero() -> None:
    assert spearman(np.ones(5), np.arange(5.0)) == 0


def test_errors_by_hand() -> None:
    truth = np.array([[1.0, 2.0], [4.0, 8.0]])
    depth = np.array([[1.1, 2.0], [6.0, 99.0]])
    valid = np.array([[True, True], [True, False]])
    errors = compute(update(depth, truth, valid))
    assert errors.abs_rel == pytest.approx((0.1 + 0 + 0.5) / 3)
    assert errors.delta1 == pytest.approx(2 / 3)
    assert errors.spearman == pytest.approx(1)


def test_delta_threshold_is_strict() -> None:
    depth, truth = np.array([[1.25, 1.24]]), np.ones((1, 2))
    assert update(depth, truth, np.ones((1, 2), bool)).delta1 == 0.5


def test_frames_without_truth_do_not_count() -> None:
    ones = np.ones((2, 2))
    nothing = update(ones, ones, np.zeros((2, 2), bool))
    assert nothing == DepthSums()
    assert np.isnan(compute(nothing).abs_rel)
    assert compute(nothing + update(2 * ones, ones, ones > 0)).abs_rel == 1


def test_sums_join_frames() -> None:
    rng = np.random.default_rng(0)
    frames = rng.uniform(1, 2, (2, 4, 5, 6))
    valid = np.ones((5, 6), bool)
    each = [update(depth, truth, valid) for depth, truth in zip(*frames, strict=True)]
    halves = compute((each[0] + each[1]) + (each[2] + each[3]))
    assert halves.abs_rel == pytest.approx(np.mean([sums.abs_rel for sums in each]))
    assert halves.frames == 4
