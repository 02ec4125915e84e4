"""Camera motion and intrinsics against the truth, as EndoDAC, AF-SfMLearner and EndoDAV report it.

Everything starts from motions between neighbouring frames, `T_next_from_current`. In windows of
five frames they are chained to poses relative to the window's first frame, one scale is fitted to
the positions, and what remains is the error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from endodav.evaluation.sums import Sums

WINDOW = 5  # poses

Values3 = Float[np.ndarray, " 3"]
Poses = Float[np.ndarray, "poses 4 4"]
Motions = Float[np.ndarray, "motions 4 4"]
Positions = Float[np.ndarray, "poses 3"]
Rotations = Float[np.ndarray, "poses 3 3"]


@dataclass(frozen=True)
class PoseSums:
    """Sums over windows, enough for `PoseErrors`; adding two of them joins their windows.

    Attributes:
        windows: how many.
        values: sums of position error and rotation error.
        squares: sums of their squares.
    """

    windows: int = 0
    values: tuple[float, float] = (0.0, 0.0)
    squares: tuple[float, float] = (0.0, 0.0)

    def __add__(self, other: PoseSums) -> PoseSums:
        return PoseSums(
            self.windows + other.windows,
            (self.values[0] + other.values[0], self.values[1] + other.values[1]),
            (self.squares[0] + other.squares[0], self.squares[1] + other.squares[1]),
        )


@dataclass(frozen=True)
class PoseErrors:
    """Mean and standard deviation over windows; NaN where there was none.

    Attributes:
        windows: how many.
        ate: position error after a scale fit, in the unit of the truth.
        ate_std: its deviation.
        rotation: angle between true and predicted rotation, in radians.
        rotation_std: its deviation.
    """

    windows: int
    ate: float
    ate_std: float
    rotation: float
    rotation_std: float


def motions_from_poses(T_camera_from_world: Poses) -> NDArray[np.float64]:
    """`T_next_from_current` of neighbouring frames, [poses - 1, 4, 4]."""
    poses = T_camera_from_world.astype(np.float64)
    return np.asarray(poses[1:] @ np.linalg.inv(poses[:-1]))


def chain(motions: Motions) -> NDArray[np.float64]:
    """Poses relative to the first, I, M0, M0 M1, ..., [motions + 1, 4, 4].

    The published programs multiply `T_next_from_current` on the right, although camera centres
    would need its inverse; numbers compare only if truth and prediction are chained the same way.
    """
    poses = [np.eye(4)]
    for motion in motions.astype(np.float64):
        poses.append(poses[-1] @ motion)
    return np.stack(poses)


def fit_scale(truth: Positions, prediction: Positions) -> float:
    """The factor of `prediction` that minimises the squared distance; 0 if it never moves."""
    power = float(np.sum(prediction**2))
    return float(np.sum(truth * prediction)) / power if power > 0 else 0.0


def position_error(truth: Positions, prediction: Positions) -> float:
    """Distance of trajectories that start together, after a scale fit: sqrt(sum of squares) / N.

    The N outside the root is the published definition; it is not an RMSE.
    """
    prediction = prediction + (truth[0] - prediction[0])
    residual = fit_scale(truth, prediction) * prediction - truth
    return float(np.linalg.norm(residual)) / len(truth)


def rotation_error(truth: Rotations, prediction: Rotations) -> float:
    """Mean angle between rotations in radians, over all poses, the identity at the start included.

    The angle comes from sine and cosine together, which is exact for small and large ones.
    """
    residual = truth @ prediction.swapaxes(-1, -2)
    cosine = np.trace(residual, axis1=-2, axis2=-1) - 1
    skew = residual - residual.swapaxes(-1, -2)
    sine = np.linalg.norm(skew[:, (0, 1, 0), (1, 2, 2)], axis=-1)
    return float(np.mean(np.arctan2(sine, cosine)))


def window_errors(truth: Motions, prediction: Motions, window: int = WINDOW) -> NDArray[np.float64]:
    """Position and rotation error of the window that starts at each frame, [motions, 2].

    Windows at the end have fewer poses, at least two.
    """
    errors = []
    for start in range(len(truth)):
        part = slice(start, start + window - 1)
        true, predicted = chain(truth[part]), chain(prediction[part])
        errors.append(
            (
                position_error(true[:, :3, 3], predicted[:, :3, 3]),
                rotation_error(true[:, :3, :3], predicted[:, :3, :3]),
            )
        )
    return np.array(errors).reshape(-1, 2)


def pose_update(truth: Motions, prediction: Motions, window: int = WINDOW) -> PoseSums:
    """Statistics of all windows of one video."""
    errors = window_errors(truth, prediction, window)
    ate, rotation = errors.sum(axis=0)
    ate_squared, rotation_squared = (errors**2).sum(axis=0)
    return PoseSums(
        len(errors),
        (float(ate), float(rotation)),
        (float(ate_squared), float(rotation_squared)),
    )


def pose_compute(sums: PoseSums) -> PoseErrors:
    """Mean and deviation over windows."""
    if sums.windows == 0:
        return PoseErrors(0, *[float("nan")] * 4)
    means = np.array(sums.values) / sums.windows
    deviations = np.sqrt(np.maximum(np.array(sums.squares) / sums.windows - means**2, 0))
    return PoseErrors(
        sums.windows, *(float(v) for pair in zip(means, deviations, strict=True) for v in pair)
    )


@dataclass(frozen=True)
class Similarity:
    """dst = scale R src + t."""

    scale: float
    rotation: Float[np.ndarray, "3 3"]
    translation: Values3

    def __call__(self, points: Positions) -> NDArray[np.float64]:
        """The points in dst."""
        return np.asarray(self.scale * points @ self.rotation.T + self.translation)


def umeyama(src: Positions, dst: Positions, with_scale: bool = True) -> Similarity:
    """The similarity that brings `src` to `dst` with the least squared distance (Umeyama 1991).

    Points that lie all in one place keep a scale of 1.
    """
    centre_src, centre_dst = src.mean(axis=0), dst.mean(axis=0)
    a, b = src - centre_src, dst - centre_dst
    U, singular, Vt = np.linalg.svd(b.T @ a / len(src))
    mirror = np.array([1.0, 1.0, np.sign(np.linalg.det(U) * np.linalg.det(Vt)) or 1.0])
    rotation = U @ np.diag(mirror) @ Vt
    variance = float(np.mean(np.sum(a**2, axis=1)))
    scale = float(singular @ mirror) / variance if with_scale and variance > 0 else 1.0
    return Similarity(scale, rotation, centre_dst - scale * rotation @ centre_src)


@dataclass(frozen=True)
class PathSums(Sums):
    """Sums over whole trajectories, each aligned by itself; adding two of them joins them.

    Attributes:
        poses: how many.
        steps: motions between neighbours.
        squared: sum of squared distances of positions.
        squared_steps: sum of squared distances of motions.
        angles: sum of angles between motions.
    """

    poses: int = 0
    steps: int = 0
    squared: float = 0.0
    squared_steps: float = 0.0
    angles: float = 0.0


@dataclass(frozen=True)
class PathErrors:
    """Errors of whole trajectories (Sturm et al., IROS 2012); NaN where there was none.

    Attributes:
        ate: root of the mean squared distance of positions, in the unit of the truth.
        rpe: the same of motions between neighbours.
        rpe_rotation: mean angle between motions of neighbours, in radians.
    """

    ate: float
    rpe: float
    rpe_rotation: float


def path_update(truth: Poses, prediction: Poses, with_scale: bool = True) -> PathSums:
    """Statistics of one whole trajectory after one similarity.

    Args:
        truth: `T_world_from_camera`.
        prediction: the same, in a world of its own and up to scale.
        with_scale: whether the scale is free; False for metric predictions.
    """
    true, predicted = truth.astype(np.float64), prediction.astype(np.float64)
    fit = umeyama(predicted[:, :3, 3], true[:, :3, 3], with_scale)
    squared = np.sum((fit(predicted[:, :3, 3]) - true[:, :3, 3]) ** 2)
    steps = [np.linalg.inv(poses[:-1]) @ poses[1:] for poses in (true, predicted)]
    steps[1][:, :3, 3] *= fit.scale
    residual = np.linalg.inv(steps[0]) @ steps[1]
    angles = [
        rotation_error(one[None, :3, :3], other[None, :3, :3])
        for one, other in zip(*steps, strict=True)
    ]
    return PathSums(
        len(true),
        len(residual),
        float(squared),
        float(np.sum(residual[:, :3, 3] ** 2)),
        float(np.sum(angles)),
    )


def path_compute(sums: PathSums) -> PathErrors:
    """Means over all poses and motions."""
    nan = float("nan")
    return PathErrors(
        float(np.sqrt(sums.squared / sums.poses)) if sums.poses else nan,
        float(np.sqrt(sums.squared_steps / sums.steps)) if sums.steps else nan,
        sums.angles / sums.steps if sums.steps else nan,
    )
