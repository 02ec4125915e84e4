"""Supervised video depth losses: scale-and-shift-invariant, gradient matching, temporal gradient matching.

Predictions and targets are inverse depth. The spatial terms come from MiDaS (Ranftl et al., TPAMI 2022),
the temporal term from Video Depth Anything (Chen et al., CVPR 2025, sec. 3.2). Every function is pure;
a mask is True where the target may be trusted, and what lies outside it never changes a loss or a gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

MIN_SPREAD = 1e-6  # keeps a perfectly flat frame from dividing by zero
TEMPORAL_WEIGHT = 10.0  # Video Depth Anything, supplement: weight of the temporal term
TEMPORAL_DECAY = 0.5  # each longer temporal stride counts half of the one before


class Normalised(NamedTuple):
    """Frames of zero median and unit mean deviation, and what was taken out of them."""

    values: Float[Tensor, "frames height width"]
    median: Float[Tensor, " frames"]
    spread: Float[Tensor, " frames"]


def normalise(
    values: Float[Tensor, "frames height width"], mask: Bool[Tensor, "frames height width"]
) -> Normalised:
    """Remove each frame's unknown shift and scale: (values - median) / mean absolute deviation.

    The median is that of `values * mask`, so invalid pixels count as zeros (and of an even number the lower of
    the two middle values is taken); the deviation is a mean over valid pixels. Gradients flow through both.
    A frame without valid pixels keeps its values.
    """
    counts = mask.sum(dim=(1, 2))
    median = (values * mask).flatten(1).median(dim=1).values
    median = torch.where(counts > 0, median, torch.zeros_like(median))
    centred = values - median[:, None, None]
    spread = (centred.abs() * mask).sum(dim=(1, 2)) / counts.clamp(min=1)
    spread = torch.where(counts > 0, spread.clamp(min=MIN_SPREAD), torch.ones_like(spread))
    return Normalised(centred / spread[:, None, None], median, spread)


def fit_scale_and_shift(
    prediction: Float[Tensor, "batch *rest"],
    target: Float[Tensor, "batch *rest"],
    mask: Bool[Tensor, "batch *rest"],
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """Least squares for `scale * prediction + shift = target` over each item's valid pixels.

    Differentiable in the prediction. Items whose system is singular get scale and shift 0.
    """
    weight = mask.flatten(1).to(prediction.dtype)
    p, t = prediction.flatten(1), target.flatten(1)
    pp, p1, n = (weight * p * p).sum(1), (weight * p).sum(1), weight.sum(1)
    pt, t1 = (weight * p * t).sum(1), (weight * t).sum(1)
    determinant = pp * n - p1 * p1
    solvable = determinant > 0
    divisor = torch.where(solvable, determinant, torch.ones_like(determinant))
    zero = torch.zeros_like(divisor)
    scale = torch.where(solvable, (n * pt - p1 * t1) / divisor, zero)
    shift = torch.where(solvable, (pp * t1 - p1 * pt) / divisor, zero)
    return scale, shift


def trimmed_mean_absolute_error(
    prediction: Float[Tensor, "*shape"],
    target: Float[Tensor, "*shape"],
    mask: Bool[Tensor, "*shape"],
    trim: float,
) -> Float[Tensor, ""]:
    """Sum of the smallest `1 - trim` of all valid residuals, over twice the number of all valid pixels."""
    residuals = (prediction - target).abs()[mask]
    kept = residuals
    if trim > 0:
        kept = residuals.sort().values[: int(len(residuals) * (1.0 - trim))]
    return kept.sum() / (2 * max(len(residuals), 1))
