"""Metrics against independent definitions."""

from __future__ import annotations

from dataclasses import asdict
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from endodav.evaluation.metrics import (
    ALL,
    BLOCK,
    DepthErrors,
    DepthSums,
    depth_compute,
    depth_update,
    spearman,
)

LOWER_IS_BETTER = ("abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "i_rmse", "silog")


def frames(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth, truth and validity, [4, 5, 6]."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(5, 100, (4, 5, 6))
    return truth * rng.uniform(0.4, 2.2, truth.shape), truth, rng.uniform(size=truth.shape) < 0.8


def errors_of(depth: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> DepthErrors:
    return depth_compute(
        reduce(add, (depth_update(*frame) for frame in zip(depth, truth, valid, strict=True)))
    )


def independent(depth: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Every metric of the pixels of one frame, straight from its formula."""
    log = np.log(depth) - np.log(truth)
    ratios = np.stack([depth / truth, truth / depth]).max(axis=0)
    return {
        "abs_rel": np.mean(np.abs(truth - depth) / truth),
        "sq_rel": np.mean((truth - depth) ** 2 / truth),
        "rmse": np.sqrt(np.mean((truth - depth) ** 2)),
        "rmse_log": np.sqrt(np.mean(log**2)),
        "log10": np.mean(np.abs(np.log10(depth) - np.log10(truth))),
        "i_rmse": np.sqrt(np.mean((1 / truth - 1 / depth) ** 2)),
        "silog": 100 * np.sqrt(np.mean(log**2) - np.mean(log) ** 2),
        "delta1": np.mean(ratios < 1.25),
        "delta2": np.mean(ratios < 1.5625),
        "delta3": np.mean(ratios < 1.953125),
        "spearman": stats.spearmanr(depth, truth).statistic,
    }


@given(seed=st.integers(0, 10_000))
def test_errors_are_means_over_frames_of_an_independent_definition(seed: int) -> None:
    depth, truth, valid = frames(seed)
    each = [independent(d[v], t[v]) for d, t, v in zip(depth, truth, valid, strict=True)]
    found = asdict(errors_of(depth, truth, valid))
    assert found.pop("frames") == 4
    assert found == {name: pytest.approx(np.mean([one[name] for one in each])) for name in each[0]}


def test_a_perfect_prediction_scores_perfectly() -> None:
    _, truth, valid = frames()
    found = asdict(errors_of(truth, truth, valid))
    assert found.pop("frames") == 4
    assert found == pytest.approx({name: float(name not in LOWER_IS_BETTER) for name in ALL})


@given(seed=st.integers(0, 10_000), levels=st.integers(2, 50))
def test_spearman_is_scipys_also_with_ties(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.integers(levels, size=100).astype(np.float64)
    b = a + rng.integers(levels, size=100)
    a[0], a[1], b[0], b[1] = 0.0, 1.0, 0.0, 1.0  # neither is constant
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)


def test_spearman_of_a_constant_is_zero() -> None:
    assert spearman(np.ones(5), np.arange(5.0)) == 0


def test_delta_threshold_is_strict() -> None:
    depth, truth = np.array([[1.25, 1.24]]), np.ones((1, 2))
    assert depth_compute(depth_update(depth, truth, np.ones((1, 2), bool))).delta1 == 0.5


def test_silog_ignores_scale() -> None:
    depth, truth, valid = frames()
    assert errors_of(7 * depth, truth, valid).silog == pytest.approx(
        errors_of(depth, truth, valid).silog
    )


def test_frames_without_truth_do_not_count() -> None:
    ones = np.ones((2, 2))
    nothing = depth_update(ones, ones, np.zeros((2, 2), bool))
    assert nothing == DepthSums()
    assert np.isnan(depth_compute(nothing).abs_rel)
    assert depth_compute(nothing + depth_update(2 * ones, ones, ones > 0)).abs_rel == 1


def test_depth_that_is_not_positive_gives_finite_errors() -> None:
    depth, truth = np.array([[[0.0, -3.0]]]), np.ones((1, 1, 2))
    assert np.isfinite(list(asdict(errors_of(depth, truth, truth > 0)).values())).all()


def test_only_what_is_asked_for_is_computed() -> None:
    depth, truth, valid = frames()
    found = depth_compute(depth_update(depth[0], truth[0], valid[0], ("rmse",)))
    assert found.rmse > 0
    assert np.isnan(found.spearman)


def test_sums_of_parts_are_the_sums_of_the_whole() -> None:
    depth, truth, valid = frames()
    each = [depth_update(*frame) for frame in zip(depth, truth, valid, strict=True)]
    assert asdict(depth_compute((each[0] + each[1]) + (each[2] + each[3]))) == pytest.approx(
        asdict(errors_of(depth, truth, valid))
    )


def test_blocks_of_pixels_add_up() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(5, 100, (3, BLOCK - 7))
    depth = truth * rng.uniform(0.4, 2.2, truth.shape)
    found = asdict(errors_of(depth[None], truth[None], np.ones((1, *truth.shape), bool)))
    assert found.pop("frames") == 1
    assert found == pytest.approx(independent(depth.ravel(), truth.ravel()))
