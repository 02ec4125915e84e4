"""Depth metrics: statistics of each frame, added up, and the result computed from the sums.

Every number is a mean over frames of what the frame's pixels give, the root of RMSE included; that
is how Video Depth Anything, EndoDAC and EndoDAV average. A frame without valid pixels drops out.
Within a frame, pixels are added up in blocks that fit the processor's cache, which is several times
as fast as whole arrays; each in the precision that it comes in, their sums in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from endodav.evaluation.alignment import BLOCK

MIN_DEPTH = 1e-3  # millimetres; depth is clamped here so that ratios and logarithms exist
DELTA = 1.25  # ratio that still counts as right for delta1

Map = Float[np.ndarray, "height width"]
Valid = Bool[np.ndarray, "height width"]
Values = Float[np.ndarray, " n"]


@dataclass(frozen=True)
class DepthErrors:
    """Errors of depth against ground truth, each a mean over frames; NaN where not asked for.

    Attributes:
        frames: frames that count.
        abs_rel: |depth - truth| / truth; like every error, lower is better.
        sq_rel: (depth - truth)^2 / truth, in mm.
        rmse: root of the mean squared difference of depth, in mm.
        rmse_log: the same of natural logarithms.
        log10: |log10 depth - log10 truth|.
        i_rmse: root of the mean squared difference of inverse depth, in 1/mm.
        silog: 100 times the standard deviation of the log ratio, which no scale changes.
        delta1: share of pixels whose depth is within a factor of 1.25 of the truth (strictly).
        delta2: the same within 1.25^2.
        delta3: the same within 1.25^3.
        spearman: rank correlation of depth and truth, which no monotone alignment changes.
    """

    frames: int
    abs_rel: float
    sq_rel: float
    rmse: float
    rmse_log: float
    log10: float
    i_rmse: float
    silog: float
    delta1: float
    delta2: float
    delta3: float
    spearman: float


@dataclass(frozen=True)
class Pixels:
    """Some valid pixels of one frame: positive depth and truth in mm, and what metrics share."""

    depth: Values
    truth: Values

    @cached_property
    def difference(self) -> Values:
        """Depth - truth."""
        return np.asarray(self.depth - self.truth)

    @cached_property
    def squared(self) -> Values:
        """(depth - truth)^2."""
        return np.asarray(self.difference * self.difference)

    @cached_property
    def ratio(self) -> Values:
        """Depth / truth."""
        return np.asarray(self.depth / self.truth)

    @cached_property
    def log_ratio(self) -> Values:
        """Natural logarithm of depth / truth."""
        return np.asarray(np.log(self.ratio))

    @cached_property
    def worse_ratio(self) -> Values:
        """The larger of depth / truth and truth / depth."""
        return np.asarray(np.maximum(self.ratio, 1 / self.ratio))


@dataclass(frozen=True)
class Metric:
    """A metric that pixels add up to.

    Attributes:
        terms: what each pixel adds, or several such rows, [pixels] or [rows, pixels].
        finish: from the mean over a frame's pixels (or the means of the rows) to the metric.
    """

    terms: Callable[[Pixels], NDArray[Any]]
    finish: Callable[[Any], float] = float


def _root(mean: float) -> float:
    return float(np.sqrt(mean))


def _deviation(means: NDArray[np.float64]) -> float:
    """Standard deviation from the means of values and squares."""
    return _root(max(means[1] - means[0] ** 2, 0.0))


# Names are those of `DepthErrors`.
METRICS: Mapping[str, Metric] = {
    "abs_rel": Metric(lambda p: np.abs(p.difference) / p.truth),
    "sq_rel": Metric(lambda p: p.squared / p.truth),
    "rmse": Metric(lambda p: p.squared, _root),
    "rmse_log": Metric(lambda p: p.log_ratio**2, _root),
    "log10": Metric(lambda p: np.abs(p.log_ratio), lambda mean: float(mean / np.log(10))),
    "i_rmse": Metric(lambda p: (1 / p.depth - 1 / p.truth) ** 2, _root),
    "silog": Metric(
        lambda p: np.stack([p.log_ratio, p.log_ratio**2]), lambda means: 100 * _deviation(means)
    ),
    "delta1": Metric(lambda p: p.worse_ratio < DELTA),
    "delta2": Metric(lambda p: p.worse_ratio < DELTA**2),
    "delta3": Metric(lambda p: p.worse_ratio < DELTA**3),
}

SPEARMAN = "spearman"  # needs all pixels of a frame at once, and takes longer than all others
ALL = (*METRICS, SPEARMAN)
STANDARD = ("abs_rel", "sq_rel", "rmse", "rmse_log", "delta1")  # what papers print


def spearman(a: Values, b: Values) -> float:
    """Correlation of ranks, ties sharing their mean rank; 0 where either has a single value."""
    ranks = np.stack([_ranks(a), _ranks(b)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(ranks, axis=1)
    return float(ranks[0] @ ranks[1] / norms.prod()) if norms.all() else 0.0


def _ranks(values: Values) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], np.float64)


@dataclass(frozen=True)
class DepthSums:
    """Sums over frames, enough for `DepthErrors`; adding two of them joins their frames.

    Attributes:
        frames: frames that count.
        totals: sum over these frames, by name of metric.
    """

    frames: int = 0
    totals: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: DepthSums) -> DepthSums:
        names = [*self.totals, *(name for name in other.totals if name not in self.totals)]
        return DepthSums(
            self.frames + other.frames,
            {name: self.totals.get(name, 0.0) + other.totals.get(name, 0.0) for name in names},
        )


def depth_update(depth: Map, truth: Map, valid: Valid, metrics: Collection[str] = ALL) -> DepthSums:
    """Statistics of one frame of aligned depth; nothing where no pixel is valid.

    Args:
        depth: aligned depth in mm.
        truth: true depth in mm, positive where valid.
        valid: pixels to compare.
        metrics: names out of `ALL`.
    """
    chosen = np.flatnonzero(valid)  # several times as fast as indexing by booleans
    return pixels_update(depth.ravel().take(chosen), truth.ravel().take(chosen), metrics)


def pixels_update(depth: Values, truth: Values, metrics: Collection[str] = ALL) -> DepthSums:
    """`depth_update` of the valid pixels of a frame, in any order; nothing where there is none."""
    if not truth.size:
        return DepthSums()
    totals: dict[str, Any] = {name: 0.0 for name in metrics if name != SPEARMAN}
    for start in range(0, truth.size, BLOCK):
        block = slice(start, start + BLOCK)
        pixels = Pixels(np.maximum(depth[block], depth.dtype.type(MIN_DEPTH)), truth[block])
        for name in totals:
            totals[name] += _sum(METRICS[name].terms(pixels))
    found = {name: METRICS[name].finish(total / truth.size) for name, total in totals.items()}
    if SPEARMAN in metrics:
        found[SPEARMAN] = spearman(depth, truth)
    return DepthSums(1, found)


def _sum(terms: NDArray[Any]) -> Any:
    if terms.dtype == bool:
        return np.count_nonzero(terms)
    return np.sum(terms, axis=-1, dtype=np.float64)


def depth_compute(sums: DepthSums) -> DepthErrors:
    """Means over frames; NaN where there was none."""
    means = {name: sums.totals[name] / sums.frames for name in sums.totals}
    return DepthErrors(sums.frames, **(dict.fromkeys(ALL, float("nan")) | means))
