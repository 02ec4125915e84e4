"""Boundary F1: are edges of depth where the truth has them (Depth Pro, ICLR 2025, sec. 4).

Between two neighbouring pixels lies an edge where one is more than t times as far as the other.
Precision and recall of such edges, over both axes and both signs, give an F1 for each threshold;
the result is their mean weighted by t - 1, because strong edges are the ones that are seen. Ratios
do not change with scale. Counts of both axes and signs are pooled, where Depth Pro averages four.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from endodav.evaluation.sums import Sums

THRESHOLDS = np.linspace(1.05, 1.25, 10)
LEAST = 1e-3  # millimetres, so that ratios exist

Map = Float[np.ndarray, "height width"]
Valid = Bool[np.ndarray, "height width"]


@dataclass(frozen=True)
class BoundarySums(Sums):
    """Sums over frames whose truth has edges; adding two of them joins their frames."""

    frames: int = 0
    f1: float = 0.0


def boundary_update(depth: Map, truth: Map, valid: Valid) -> BoundarySums:
    """Statistics of one frame; nothing where the truth has no edge of the lowest threshold.

    Args:
        depth: aligned depth in mm.
        truth: true depth in mm.
        valid: pixels to compare; both neighbours have to be.
    """
    counts = np.zeros((len(THRESHOLDS), 3))  # edges of both, of the prediction, of the truth
    for predicted, true in _log_ratios(depth, truth, valid):
        for row, threshold in zip(counts, np.log(THRESHOLDS), strict=True):
            for sign in (1, -1):
                ours, theirs = sign * predicted > threshold, sign * true > threshold
                row += (ours & theirs).sum(), ours.sum(), theirs.sum()
    both, ours, theirs = counts.T
    if theirs[0] == 0:
        return BoundarySums()
    f1 = 2 * both / np.maximum(ours + theirs, 1)
    exists = theirs > 0
    weights = (THRESHOLDS - 1) * exists
    return BoundarySums(1, float(f1 @ weights / weights.sum()))


def boundary_compute(sums: BoundarySums) -> float:
    """Mean over frames, 0 to 1; NaN where no truth had an edge."""
    return sums.f1 / sums.frames if sums.frames else float("nan")


def _log_ratios(
    depth: Map, truth: Map, valid: Valid
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Logarithms of the ratios of neighbours, along rows and columns, where both are valid."""
    logs = [np.log(np.maximum(values.astype(np.float64), LEAST)) for values in (depth, truth)]
    for axis in (0, 1):
        chosen = np.delete(valid, 0, axis) & np.delete(valid, -1, axis)
        predicted, true = (np.diff(values, axis=axis)[chosen] for values in logs)
        yield predicted, true
