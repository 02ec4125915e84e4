"""Depth metrics: statistics of each frame, added up, and the result computed from the sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

MIN_DEPTH = 1e-3  # millimetres; aligned depth is clamped here before it is compared
DELTA = 1.25  # ratio that still counts as right for delta1

Map = Float[np.ndarray, "height width"]
Valid = Bool[np.ndarray, "height width"]


@dataclass(frozen=True)
class DepthErrors:
    """Errors of depth against ground truth, each a mean over frames of the mean over pixels.

    Attributes:
        frames: frames that count.
        abs_rel: |depth - truth| / truth; lower is better.
        delta1: share of pixels whose depth is within a factor of 1.25 of the truth.
        spearman: rank correlation of depth and truth, which no monotone alignment changes.
    """

    frames: int
    abs_rel: float
    delta1: float
    spearman: float


@dataclass(frozen=True)
class DepthSums:
    """Sums over frames, enough for `DepthErrors`; adding two of them joins their frames."""

    frames: int = 0
    abs_rel: float = 0.0
    delta1: float = 0.0
    spearman: float = 0.0

    def __add__(self, other: DepthSums) -> DepthSums:
        return DepthSums(
            self.frames + other.frames,
            self.abs_rel + other.abs_rel,
            self.delta1 + other.delta1,
            self.spearman + other.spearman,
        )


def update(depth: Map, truth: Map, valid: Valid) -> DepthSums:
    """Statistics of one frame of aligned depth; nothing where no pixel is valid."""
    if not valid.any():
        return DepthSums()
    d = np.maximum(depth[valid].astype(np.float64), MIN_DEPTH)
    t = truth[valid].astype(np.float64)
    return DepthSums(
        frames=1,
        abs_rel=float(np.mean(np.abs(d - t) / t)),
        delta1=float(np.mean(np.maximum(d / t, t / d) < DELTA)),
        spearman=spearman(depth[valid], truth[valid]),
    )


def compute(sums: DepthSums) -> DepthErrors:
    """Means over frames; NaN where there was none."""
    if sums.frames == 0:
        return DepthErrors(0, float("nan"), float("nan"), float("nan"))
    n = sums.frames
    return DepthErrors(n, sums.abs_rel / n, sums.delta1 / n, sums.spearman / n)


def spearman(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    """Correlation of ranks, ties sharing their mean rank; 0 where either has a single value."""
    ranks = np.stack([_ranks(a), _ranks(b)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(ranks, axis=1)
    return float(ranks[0] @ ranks[1] / norms.prod()) if norms.all() else 0.0


def _ranks(values: Float[np.ndarray, " n"]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], np.float64)
