"""Camera motion and intrinsics, against SciPy and by laws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.spatial.transform import Rotation

from endodav.evaluation.intrinsics import intrinsics_compute, intrinsics_update
from endodav.evaluation.trajectory import (
    PoseSums,
    chain,
    fit_scale,
    motions_from_poses,
    pose_compute,
    pose_update,
    position_error,
    rotation_error,
    window_errors,
)


def motions(count: int = 7, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    result = np.tile(np.eye(4), (count, 1, 1))
    result[:, :3, :3] = Rotation.from_rotvec(rng.normal(0, 0.2, (count, 3))).as_matrix()
    result[:, :3, 3] = rng.normal(0, 3, (count, 3))
    return result


def scaled(values: np.ndarray, factor: float) -> np.ndarray:
    result = values.copy()
    result[:, :3, 3] *= factor
    return result


def test_motions_compose_to_the_poses() -> None:
    poses = motions()
    found = motions_from_poses(poses)
    pose = poses[0]
    for step, wanted in zip(found, poses[1:], strict=True):
        pose = step @ pose
        assert pose == pytest.approx(wanted)


def test_perfect_motion_of_another_scale_has_no_error() -> None:
    errors = pose_compute(pose_update(motions(), scaled(motions(), 0.02)))
    assert errors.windows == 7
    assert (errors.ate, errors.rotation) == pytest.approx((0, 0), abs=1e-9)


def test_fitted_scale_is_the_best() -> None:
    truth, prediction = np.random.default_rng(0).normal(size=(2, 6, 3))
    best = minimize_scalar(lambda s: np.sum((s * prediction - truth) ** 2))
    assert fit_scale(truth, prediction) == pytest.approx(best.x)


def test_a_prediction_that_never_moves_is_off_by_the_truth() -> None:
    truth = np.array([[0.0, 0, 0], [3, 0, 0], [0, 4, 0]])
    assert position_error(truth, np.zeros((3, 3))) == pytest.approx(5 / 3)


def test_rotation_error_is_scipys_angle() -> None:
    rng = np.random.default_rng(0)
    a, b = (Rotation.from_rotvec(rng.normal(0, 1.5, (20, 3))) for _ in range(2))
    angle = np.mean((a * b.inv()).magnitude())
    assert rotation_error(a.as_matrix(), b.as_matrix()) == pytest.approx(angle)


def test_windows_are_five_poses_and_fewer_at_the_end() -> None:
    true, predicted = motions(seed=0), motions(seed=1)
    found = window_errors(true, predicted)
    whole = chain(true[:4]), chain(predicted[:4])
    assert whole[0].shape == (5, 4, 4)
    assert found[0, 0] == pytest.approx(position_error(whole[0][:, :3, 3], whole[1][:, :3, 3]))
    assert found[-1, 1] == pytest.approx(
        rotation_error(chain(true[-1:])[:, :3, :3], chain(predicted[-1:])[:, :3, :3])
    )


def test_means_and_deviations_over_windows_of_all_videos() -> None:
    videos = [(motions(7, 0), motions(7, 1)), (motions(4, 2), motions(4, 3))]
    sums = [pose_update(*video) for video in videos]
    found = pose_compute(PoseSums() + sums[0] + sums[1])
    every = np.concatenate([window_errors(*video) for video in videos])
    assert found.windows == 11
    assert (found.ate, found.rotation) == pytest.approx(tuple(every.mean(axis=0)))
    assert (found.ate_std, found.rotation_std) == pytest.approx(tuple(every.std(axis=0)))


def test_no_motion_to_compare_is_nan() -> None:
    nothing = pose_update(np.empty((0, 4, 4)), np.empty((0, 4, 4)))
    assert nothing == PoseSums()
    assert np.isnan(pose_compute(nothing).ate)


def test_intrinsics_in_shares_of_the_image() -> None:
    truth = np.array([[100.0, 0, 60], [0, 90, 40], [0, 0, 1]])
    predicted = [truth * [[1.1], [1], [1]], truth * [[0.9], [1], [1]]]
    first, second = (intrinsics_update(K, truth, 80, 120) for K in predicted)
    found = intrinsics_compute(first + second)
    assert found.frames == 2
    assert found.mean == pytest.approx([100 / 120, 90 / 80, 0.5, 0.5])
    assert found.std == pytest.approx([10 / 120, 0, 6 / 120, 0], abs=1e-8)
    assert found.relative_error == pytest.approx([0.1, 0, 0.1, 0])
