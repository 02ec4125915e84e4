"""Protocols: what is made comparable, over which pixels, before a prediction meets its truth."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from endodav.evaluation.metrics import DepthErrors, DepthSums, compute, update
from endodav.types import Kind

FARTHEST = (
    100.0  # times the nearest depth of a frame; inverse depth below 1 % of its maximum is cut
)

Clip = Float[np.ndarray, "time height width"]
Map = Float[np.ndarray, "height width"]


def depth_from_inverse(inverse_depth: Map) -> NDArray[np.float64]:
    """1 / inverse depth, finite for every input.

    A prediction may be zero, and one zero would own the least-squares fit that follows. So inverse
    depth is cut at a hundredth of the frame's maximum: relative, because its scale means nothing,
    and low, because the end of a lumen is rarely fifty times as far as the nearest wall. A frame
    without any positive value becomes a constant.
    """
    values = inverse_depth.astype(np.float64)
    largest = float(values.max())
    if largest <= 0:
        return np.ones_like(values)
    return np.asarray(1 / np.maximum(values, largest / FARTHEST), np.float64)


def align_by_least_squares(
    depth: Map, truth: Map, valid: Bool[np.ndarray, "height width"]
) -> NDArray[np.float64]:
    """The depth under the scale and shift that fit it best to the truth over valid pixels."""
    d, t = depth[valid].astype(np.float64), truth[valid].astype(np.float64)
    centred = d - d.mean()
    power = float(centred @ centred)
    scale = float(centred @ t) / power if power > 0 else 0.0
    return np.asarray((depth - d.mean()) * scale + t.mean(), np.float64)


def per_frame_least_squares_in_depth(
    prediction: Clip, kind: Kind, truth: Clip, valid: Bool[np.ndarray, "time height width"]
) -> DepthErrors:
    """Scale and shift by least squares in depth, frame by frame; mean over frames.

    Args:
        prediction: depth or inverse depth, as `kind` says, in any unit.
        kind: what the prediction is.
        truth: depth in millimetres.
        valid: where the truth is known.
    """
    sums = DepthSums()
    for predicted, true, usable in zip(prediction, truth, valid, strict=True):
        if usable.any():
            inverse = kind is Kind.INVERSE_DEPTH
            depth = depth_from_inverse(predicted) if inverse else predicted
            sums += update(align_by_least_squares(depth, true, usable), true, usable)
    return compute(sums)
