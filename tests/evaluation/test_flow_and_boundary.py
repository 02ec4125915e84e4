"""OPW and boundary F1 against independent NumPy versions, and their laws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from endodav.evaluation.boundary import (
    THRESHOLDS,
    BoundarySums,
    boundary_compute,
    boundary_update,
)
from endodav.evaluation.flow import FlowSums, Look, flow_of_camera, opw_compute, opw_update


def look(seed: int) -> Look:
    rng = np.random.default_rng(seed)
    return Look(rng.uniform(10, 90, (9, 11)), rng.integers(100, 120, (9, 11, 3), dtype=np.uint8))


def independent_opw(first: Look, second: Look, flow: np.ndarray) -> float:
    rows, columns = np.mgrid[:9, :11].astype(float)
    u, v = columns + flow[0], rows + flow[1]
    inside = (u >= 0) & (u <= 10) & (v >= 0) & (v <= 8)
    warp = lambda values: map_coordinates(values, [v, u], order=1, mode="nearest")  # noqa: E731
    colours = np.stack([warp(first.image[..., c] / 255.0) for c in range(3)], axis=-1)
    weight = np.exp(-50 * ((second.image / 255.0 - colours) ** 2).sum(-1)) * inside
    return float((weight * np.abs(second.depth - warp(first.depth))).sum() / weight.sum())


@pytest.mark.parametrize("seed", range(3))
def test_opw_is_numpys(seed: int) -> None:
    first, second = look(seed), look(seed + 100)
    flow = np.random.default_rng(seed).uniform(-2, 2, (2, 9, 11))
    sums = opw_update(first, second, flow)
    assert opw_compute(sums) == pytest.approx(independent_opw(first, second, flow), rel=1e-4)
    assert opw_compute(sums + sums) == pytest.approx(opw_compute(sums))


def test_opw_of_a_still_is_zero_and_of_no_flow_is_unknown() -> None:
    still = look(0)
    assert opw_compute(opw_update(still, still, np.zeros((2, 9, 11)))) == pytest.approx(0, abs=1e-4)
    unknown = opw_update(still, still, np.full((2, 9, 11), np.nan))
    assert unknown == FlowSums()
    assert np.isnan(opw_compute(unknown))


def test_flow_of_a_sideways_camera_is_focal_length_times_motion_over_depth() -> None:
    K = np.array([[20.0, 0, 5], [0, 20, 4], [0, 0, 1]])
    T = np.eye(4)
    T[0, 3] = 3.0
    truth = np.full((9, 11), 30.0)
    truth[0, 0] = 0
    flow = flow_of_camera(truth, K, T)
    assert np.isnan(flow[:, 0, 0]).all()
    assert np.allclose(flow[0, 1:], 2, atol=1e-4)
    assert np.allclose(flow[1, 1:], 0, atol=1e-4)


def independent_f1(depth: np.ndarray, truth: np.ndarray) -> float:
    """Edges pixel by pixel."""
    height, width = truth.shape
    scores, weights = [], []
    for threshold in THRESHOLDS:
        edges: dict[str, set[tuple[int, int, int, int]]] = {"depth": set(), "truth": set()}
        for name, values in (("depth", depth), ("truth", truth)):
            for i in range(height):
                for j in range(width):
                    for di, dj in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                        k, m = i + di, j + dj
                        inside = 0 <= k < height and 0 <= m < width
                        if inside and values[k, m] / values[i, j] > threshold:
                            edges[name].add((i, j, k, m))
        if edges["truth"]:
            both = len(edges["depth"] & edges["truth"])
            scores.append(2 * both / (len(edges["depth"]) + len(edges["truth"])))
            weights.append(threshold - 1)
    return float(np.average(scores, weights=weights))


@pytest.mark.parametrize("seed", range(3))
def test_boundary_f1_is_the_one_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.choice([20.0, 21.5, 23.0, 40.0], (6, 7))
    depth = truth * rng.uniform(0.9, 1.1, truth.shape)
    sums = boundary_update(depth, truth, np.ones(truth.shape, bool))
    assert boundary_compute(sums) == pytest.approx(independent_f1(depth, truth))


def test_boundary_f1_ignores_scale_and_flat_truth() -> None:
    truth = np.full((6, 7), 20.0)
    assert boundary_update(truth, truth, truth > 0) == BoundarySums()
    assert np.isnan(boundary_compute(BoundarySums()))
    truth[:, 3:] = 50
    assert boundary_compute(boundary_update(7 * truth, truth, truth > 0)) == 1
    assert boundary_compute(boundary_update(np.ones((6, 7)), truth, truth > 0)) == 0
