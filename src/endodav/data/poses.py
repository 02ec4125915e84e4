"""Poses as datasets write them, as 4x4 matrices of float64 that map camera to world points."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64

from endodav.data.sequence import Intrinsics, Pose

MM_PER_METRE = 1000.0
RIGID_TOLERANCE = 1e-2  # of R R^T against the identity; datasets print as few as four digits


def pose_matrix(
    rotation: Float[np.ndarray, "3 3"], translation: Float[np.ndarray, " 3"], unit_mm: float = 1.0
) -> Pose:
    """A rotation and a translation counted in `unit_mm` millimetres as one matrix in mm."""
    T = np.eye(4)
    T[:3, :3] = rotation
    T[:3, 3] = translation * unit_mm
    return T


def scaled(T: Float[np.ndarray, "4 4"], unit_mm: float) -> Pose:
    """The pose with its translation, counted in `unit_mm` millimetres, in millimetres."""
    return pose_matrix(T[:3, :3], T[:3, 3], unit_mm)


def inverted(T: Float[np.ndarray, "4 4"]) -> Pose:
    """`T_src_from_dst`."""
    rotation = T[:3, :3].T
    return pose_matrix(rotation, -rotation @ T[:3, 3])


def from_quaternion(xyzw: Float[np.ndarray, " 4"]) -> Float64[np.ndarray, "3 3"]:
    """Rotation of a quaternion (x, y, z, w) of any length but zero (Shuster 1993, eq. 77)."""
    x, y, z, w = xyzw / np.linalg.norm(xyzw)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def to_quaternion(rotation: Float[np.ndarray, "3 3"]) -> Float64[np.ndarray, " 4"]:
    """Quaternion (x, y, z, w), w >= 0: the dominant eigenvector of Bar-Itzhack's matrix (2000)."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = np.asarray(rotation, np.float64)
    K = np.array(
        [
            [xx - yy - zz, 0, 0, 0],
            [yx + xy, yy - xx - zz, 0, 0],
            [zx + xz, zy + yz, zz - xx - yy, 0],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    xyzw = np.linalg.eigh(K)[1][:, -1]  # reads the lower triangle
    return np.asarray(np.copysign(1.0, xyzw[3]) * xyzw)


def is_rigid(T: Float[np.ndarray, "4 4"]) -> bool:
    """Whether a matrix is a rotation and a translation, to the precision of printed tables."""
    rotation = T[:3, :3]
    return bool(
        np.isfinite(T).all()
        and np.allclose(rotation @ rotation.T, np.eye(3), atol=RIGID_TOLERANCE)
        and np.linalg.det(rotation) > 0
        and np.allclose(T[3], (0, 0, 0, 1), atol=RIGID_TOLERANCE)
    )


def pinhole(fx: float, fy: float, cx: float, cy: float) -> Intrinsics:
    """Intrinsics from focal lengths and principal point, in pixels."""
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
