"""Consistency over time: does the depth of one frame, moved by the camera, agree with the next?

TAE (temporal alignment error) moves every pixel of a frame into its neighbour and compares depths
there: 100 |moved - own| / own, both ways, averaged over neighbours. TAS is the share of pixels that
agree within a factor of 1.25. Both suppose a rigid scene and use the predicted depth alone, so a
prediction can be perfectly consistent and wrong. Two conventions are published; their numbers
differ. Projection is in float64, because rounding to a pixel decides what is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from endodav.evaluation.metrics import DELTA
from endodav.evaluation.sums import Sums

Matrix3 = Float[np.ndarray, "3 3"]
Matrix4 = Float[np.ndarray, "4 4"]


@dataclass(frozen=True)
class Convention:
    """What the two published implementations do differently.

    Attributes:
        pixel_centre: coordinate of the first pixel's centre. With 0.5 the official program rounds
            without taking the half away again, so that pixels land on a neighbour.
        valid_only: whether only pixels with known truth are moved and compared; otherwise all are,
            since no truth enters the error.
        empty_is_zero: whether a pair without overlap counts as an error of 0; otherwise it is left
            out.
    """

    pixel_centre: float
    valid_only: bool
    empty_is_zero: bool


CONVENTIONS: Mapping[str, Convention] = {
    "endodav": Convention(pixel_centre=0.5, valid_only=True, empty_is_zero=False),
    "vda": Convention(pixel_centre=0.0, valid_only=False, empty_is_zero=True),
}


class View(NamedTuple):
    """Aligned depth of a frame and where its truth is known."""

    depth: Float[np.ndarray, "height width"]
    valid: Bool[np.ndarray, "height width"]


class Agreement(NamedTuple):
    """One frame moved into another: mean relative error and share of pixels within 1.25."""

    error: float
    share: float


@dataclass(frozen=True)
class TemporalSums(Sums):
    """Sums over moved frames (two for each neighbouring pair); adding two of them joins them."""

    count: int = 0
    error: float = 0.0
    share: float = 0.0


@dataclass(frozen=True)
class TemporalErrors:
    """Consistency of a video.

    Attributes:
        count: moved frames that count, two for each neighbouring pair.
        tae: 100 times the mean relative error; lower is better.
        tas: share of pixels within a factor of 1.25; higher is better.
    """

    count: int
    tae: float
    tas: float


def temporal_update(
    first: View,
    second: View,
    T_second_from_first: Matrix4,
    intrinsics: Matrix3,
    convention: Convention,
) -> TemporalSums:
    """Statistics of two neighbouring frames, moved both ways.

    Args:
        first: a frame.
        second: the next frame, of the same size.
        T_second_from_first: motion of the camera, with lengths in the unit of the depth.
        intrinsics: of both frames, in pixels.
        convention: which published implementation to follow.
    """
    T_first_from_second = np.linalg.inv(T_second_from_first.astype(np.float64))
    forward = agreement(first, second, T_second_from_first, intrinsics, convention)
    backward = agreement(second, first, T_first_from_second, intrinsics, convention)
    counted = [one for one in (forward, backward) if one is not None]
    return TemporalSums(
        len(counted), sum(one.error for one in counted), sum(one.share for one in counted)
    )


def temporal_compute(sums: TemporalSums) -> TemporalErrors:
    """Means over all moved frames; NaN where there was none."""
    if sums.count == 0:
        return TemporalErrors(0, float("nan"), float("nan"))
    return TemporalErrors(sums.count, 100 * sums.error / sums.count, sums.share / sums.count)


def agreement(
    source: View,
    target: View,
    T_target_from_source: Matrix4,
    intrinsics: Matrix3,
    convention: Convention,
) -> Agreement | None:
    """How the depth of `source`, moved into `target`, agrees with the depth that is there.

    Returns:
        None where nothing overlaps and the convention leaves such pairs out.
    """
    movable, comparable = source.depth > 0, target.depth > 0
    if convention.valid_only:
        movable, comparable = movable & source.valid, comparable & target.valid
    moved = splat(source.depth, movable, T_target_from_source, intrinsics, convention.pixel_centre)
    overlap = (moved > 0) & comparable
    if not overlap.any():
        return Agreement(0.0, 0.0) if convention.empty_is_zero else None
    a, b = moved[overlap], target.depth[overlap].astype(np.float64)
    return Agreement(
        float(np.mean(np.abs(a - b) / b)), float(np.mean(np.maximum(a / b, b / a) < DELTA))
    )


def splat(
    depth: Float[np.ndarray, "height width"],
    movable: Bool[np.ndarray, "height width"],
    T_target_from_source: Matrix4,
    intrinsics: Matrix3,
    pixel_centre: float,
) -> NDArray[np.float64]:
    """Depth that `target` gets from `source`'s pixels, 0 where none lands, [height, width].

    Each pixel goes to the nearest target pixel (halves to even). Where several land on one, the
    last in row-major order stays, as published; there is no depth test.
    """
    height, width = depth.shape
    rows, columns = np.nonzero(movable)
    pixels = np.stack([columns + pixel_centre, rows + pixel_centre, np.ones(rows.size)])
    K, T = intrinsics.astype(np.float64), T_target_from_source.astype(np.float64)
    points = np.linalg.solve(K, pixels) * depth[rows, columns].astype(np.float64)
    x, y, z = K @ (T[:3, :3] @ points + T[:3, 3:])
    front = z > 0
    u, v = np.rint(x[front] / z[front]), np.rint(y[front] / z[front])
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    moved = np.zeros((height, width))
    moved[v[inside].astype(np.intp), u[inside].astype(np.intp)] = z[front][inside]
    return moved
