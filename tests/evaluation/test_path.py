"""Whole trajectories: Umeyama's fit, ATE and RPE."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from endodav.evaluation.trajectory import PathSums, path_compute, path_update, umeyama


def poses(seed: int, count: int = 12) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = np.tile(np.eye(4), (count, 1, 1))
    found[:, :3, :3] = Rotation.random(count, rng=rng).as_matrix()
    found[:, :3, 3] = rng.normal(0, 10, (count, 3)).cumsum(axis=0)
    return found


def moved(world: np.ndarray, scale: float, seed: int = 9) -> np.ndarray:
    """The same trajectory in another world and scale."""
    rotation = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    found = world.copy()
    found[:, :3, :3] = rotation @ world[:, :3, :3]
    found[:, :3, 3] = scale * world[:, :3, 3] @ rotation.T + (1, 2, 3)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_umeyama_recovers_a_similarity(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, rotation = rng.normal(size=(20, 3)), Rotation.random(rng=rng).as_matrix()
    fit = umeyama(points, 2.5 * points @ rotation.T + (1, 2, 3))
    assert fit.scale == pytest.approx(2.5)
    assert fit.rotation == pytest.approx(rotation)
    assert fit.translation == pytest.approx([1, 2, 3])


def test_umeyama_does_not_mirror() -> None:
    points = np.random.default_rng(0).normal(size=(20, 3))
    fit = umeyama(points, points * (1, 1, -1))
    assert np.linalg.det(fit.rotation) == pytest.approx(1)


def test_another_world_and_scale_are_no_error() -> None:
    errors = path_compute(path_update(poses(0), moved(poses(0), 0.2)))
    assert (errors.ate, errors.rpe) == pytest.approx((0, 0), abs=1e-9)
    assert errors.rpe_rotation == pytest.approx(0, abs=1e-7)
    assert path_compute(path_update(poses(0), moved(poses(0), 0.2), with_scale=False)).ate > 1


def test_errors_are_numpys() -> None:
    rng = np.random.default_rng(1)
    truth = poses(1)
    noisy = truth.copy()
    noisy[:, :3, 3] += rng.normal(0, 0.5, (12, 3))
    noisy[:, :3, :3] = (
        noisy[:, :3, :3] @ Rotation.from_rotvec(rng.normal(0, 0.02, (12, 3))).as_matrix()
    )
    fit = umeyama(noisy[:, :3, 3], truth[:, :3, 3])
    distances = np.linalg.norm(fit(noisy[:, :3, 3]) - truth[:, :3, 3], axis=1)
    gaps, angles = [], []
    for k in range(11):
        true = np.linalg.inv(truth[k]) @ truth[k + 1]
        ours = np.linalg.inv(noisy[k]) @ noisy[k + 1]
        ours[:3, 3] *= fit.scale
        rest = np.linalg.inv(true) @ ours
        gaps.append(np.linalg.norm(rest[:3, 3]))
        angles.append(Rotation.from_matrix(rest[:3, :3]).magnitude())
    errors = path_compute(path_update(truth, noisy))
    assert errors.ate == pytest.approx(np.sqrt(np.mean(distances**2)))
    assert errors.rpe == pytest.approx(np.sqrt(np.mean(np.square(gaps))))
    assert errors.rpe_rotation == pytest.approx(np.mean(angles))


def test_no_trajectory_has_no_error() -> None:
    assert np.isnan(path_compute(PathSums()).ate)
