"""Consistency over time, against a loop over pixels and by laws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from endodav.evaluation.temporal import (
    CONVENTIONS,
    TemporalSums,
    View,
    agreement,
    splat,
    temporal_compute,
    temporal_update,
)

SIZE = (9, 11)
K = np.array([[10.0, 0, 5.2], [0, 11.0, 4.1], [0, 0, 1]])


def motion(rotation: tuple[float, float, float], translation: tuple[float, float, float]):
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(rotation).as_matrix()
    T[:3, 3] = translation
    return T


MOTION = motion((0.05, -0.03, 0.2), (1.0, -2.0, 3.0))


def view(seed: int = 0) -> View:
    rng = np.random.default_rng(seed)
    return View(rng.uniform(20, 40, SIZE), rng.uniform(size=SIZE) < 0.8)


def moved_by_a_loop(source: View, T: np.ndarray, centre: float) -> np.ndarray:
    """Pixel by pixel in row-major order; later ones overwrite."""
    result = np.zeros(SIZE)
    for row in range(SIZE[0]):
        for column in range(SIZE[1]):
            if source.valid[row, column]:
                ray = np.array(
                    [(column + centre - K[0, 2]) / K[0, 0], (row + centre - K[1, 2]) / K[1, 1], 1]
                )
                point = T[:3, :3] @ (ray * source.depth[row, column]) + T[:3, 3]
                u = round(K[0, 0] * point[0] / point[2] + K[0, 2])
                v = round(K[1, 1] * point[1] / point[2] + K[1, 2])
                if 0 <= u < SIZE[1] and 0 <= v < SIZE[0]:
                    result[v, u] = point[2]
    return result


@pytest.mark.parametrize("centre", [0.0, 0.5])
def test_splat_is_a_loop_over_pixels(centre: float) -> None:
    moved = splat(view().depth, view().valid, MOTION, K, centre)
    assert moved == pytest.approx(moved_by_a_loop(view(), MOTION, centre))
    assert np.count_nonzero(moved) > 20


def test_points_behind_the_camera_are_dropped() -> None:
    depth = np.full(SIZE, 10.0)
    assert not splat(depth, depth > 0, motion((0, 0, 0), (0, 0, -20)), K, 0.0).any()


@pytest.mark.parametrize("name", CONVENTIONS)
def test_errors_are_those_of_the_loop_both_ways(name: str) -> None:
    first, second, convention = view(0), view(1), CONVENTIONS[name]
    shares, errors = [], []
    for source, target, T in ((first, second, MOTION), (second, first, np.linalg.inv(MOTION))):
        if not convention.valid_only:
            source, target = (View(one.depth, np.ones(SIZE, bool)) for one in (source, target))
        moved = moved_by_a_loop(source, T, convention.pixel_centre)
        overlap = (moved > 0) & target.valid
        a, b = moved[overlap], target.depth[overlap]
        errors.append(np.mean(np.abs(a - b) / b))
        shares.append(np.mean((a / b < 1.25) & (b / a < 1.25)))
    found = temporal_compute(temporal_update(first, second, MOTION, K, convention))
    assert found.tae == pytest.approx(100 * np.mean(errors))
    assert found.tas == pytest.approx(np.mean(shares))


def test_a_camera_at_rest_is_perfectly_consistent() -> None:
    one = view()
    found = temporal_compute(temporal_update(one, one, np.eye(4), K, CONVENTIONS["vda"]))
    assert found.tae == pytest.approx(0, abs=1e-12)
    assert found.tas == 1


def test_a_wall_that_comes_nearer_is_consistent_if_its_depth_shrinks() -> None:
    everywhere = np.ones(SIZE, bool)
    far, near = View(np.full(SIZE, 40.0), everywhere), View(np.full(SIZE, 30.0), everywhere)
    ahead = motion((0, 0, 0), (0, 0, -10))
    for convention in CONVENTIONS.values():
        right = temporal_compute(temporal_update(far, near, ahead, K, convention))
        wrong = temporal_compute(temporal_update(far, far, ahead, K, convention))
        assert right.tae == pytest.approx(0, abs=1e-9)
        assert wrong.tae == pytest.approx(100 * (10 / 40), abs=1e-9)


def test_no_overlap_counts_as_zero_or_not_at_all() -> None:
    away = motion((0, 0, 0), (1e6, 0, 0))
    assert agreement(view(0), view(1), away, K, CONVENTIONS["vda"]) == (0, 0)
    assert agreement(view(0), view(1), away, K, CONVENTIONS["endodav"]) is None
    nothing = temporal_update(view(0), view(1), away, K, CONVENTIONS["endodav"])
    assert nothing == TemporalSums()
    assert np.isnan(temporal_compute(nothing).tae)


def test_sums_join_pairs() -> None:
    convention = CONVENTIONS["vda"]
    pairs = [temporal_update(view(k), view(k + 1), MOTION, K, convention) for k in range(3)]
    each = [temporal_compute(sums) for sums in pairs]
    joined = temporal_compute(pairs[0] + (pairs[1] + pairs[2]))
    assert joined.count == 6
    assert joined.tae == pytest.approx(np.mean([errors.tae for errors in each]))
    assert joined.tas == pytest.approx(np.mean([errors.tas for errors in each]))
