"""Supervised losses of inverse depth: right up to scale and shift, right changes in space and time.

The spatial terms come from MiDaS (Ranftl et al., TPAMI 2022), the temporal term from Video Depth
Anything (Chen et al., CVPR 2025, sec. 3.2). Every function is pure. A mask is True where the target
may be trusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

MIN_SPREAD = 1e-6  # keeps a perfectly flat frame from dividing by zero
TEMPORAL_WEIGHT = 10.0  # Video Depth Anything, supplement: weight of the temporal term
THRESHOLD = 0.05  # of a frame's range; where the target changes more it is hardly the same point
LOG_FLOOR = 0.02  # of a clip's mean inverse depth; fifty times the mean depth counts as infinite
TEMPORAL_DECAY = 0.5  # each longer temporal stride counts half of the one before it


class Normalised(NamedTuple):
    """Frames of zero median and unit mean deviation, and what was taken out of them."""

    values: Float[Tensor, "frames height width"]
    median: Float[Tensor, " frames"]
    spread: Float[Tensor, " frames"]


def normalise(
    values: Float[Tensor, "frames height width"], mask: Bool[Tensor, "frames height width"]
) -> Normalised:
    """Remove each frame's unknown shift and scale: (values - median) / mean absolute deviation.

    The median is that of `values * mask`, so invalid pixels count as zeros (and of an even number
    the lower of the two middle values is taken); the deviation is a mean over valid pixels.
    Gradients flow through both. A frame without valid pixels keeps its values.
    """
    counts = mask.sum(dim=(1, 2))
    median = (values * mask).flatten(1).median(dim=1).values
    median = torch.where(counts > 0, median, torch.zeros_like(median))
    centred = values - median[:, None, None]
    spread = (centred.abs() * mask).sum(dim=(1, 2)) / counts.clamp(min=1)
    spread = torch.where(counts > 0, spread.clamp(min=MIN_SPREAD), torch.ones_like(spread))
    return Normalised(centred / spread[:, None, None], median, spread)


def fit_scale_and_shift(
    prediction: Float[Tensor, "items ..."],
    target: Float[Tensor, "items ..."],
    mask: Bool[Tensor, "items ..."],
) -> tuple[Float[Tensor, " items"], Float[Tensor, " items"]]:
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


def trimmed_absolute_error(
    prediction: Float[Tensor, "*shape"],
    target: Float[Tensor, "*shape"],
    mask: Bool[Tensor, "*shape"],
    trim: float,
) -> Float[Tensor, ""]:
    """Sum of the smallest `1 - trim` of all valid residuals, over the number of all valid pixels.

    The largest residuals are label noise more often than signal (MiDaS' robust loss).
    """
    # Not `[mask]` where it can be helped: picking costs more than adding zeros, and a GPU waits.
    residuals = torch.where(mask, prediction - target, 0.0).abs()
    if trim > 0:
        valid = residuals[mask]
        kept = valid.sort().values[: int(len(valid) * (1.0 - trim))]
        return kept.sum() / max(len(valid), 1)
    return residuals.sum() / mask.sum().clamp(min=1)


def gradient_matching(
    prediction: Float[Tensor, "batch frames height width"],
    target: Float[Tensor, "batch frames height width"],
    mask: Bool[Tensor, "batch frames height width"],
    scales: int,
) -> Float[Tensor, ""]:
    """Absolute spatial gradients of the difference, per valid pixel, summed over axes and scales.

    Scale k takes every 2^k-th pixel without averaging. The frames of an item are one tall image,
    whose rows are subsampled together; gradients across the border of two frames do not count.
    """
    frame_of_row = torch.arange(mask[0, :, :, 0].numel(), device=mask.device) // mask.shape[2]
    tall_mask = mask.flatten(1, 2)
    difference = (prediction - target).flatten(1, 2) * tall_mask
    total = difference.new_zeros(())
    for step in (2**k for k in range(scales)):
        d, m = difference[:, ::step, ::step], tall_mask[:, ::step, ::step]
        frame = frame_of_row[::step]
        same_frame = (frame[1:] == frame[:-1])[:, None]
        across = d.diff(dim=2).abs() * (m[:, :, 1:] & m[:, :, :-1])
        down = d.diff(dim=1).abs() * (m[:, 1:] & m[:, :-1] & same_frame)
        total = total + (across.sum() + down.sum()) / m.sum().clamp(min=1)
    return total


def spatial_error(
    prediction: Float[Tensor, "batch frames height width"],
    target: Float[Tensor, "batch frames height width"],
    mask: Bool[Tensor, "batch frames height width"],
    *,
    gradient_weight: float = 0.5,
    scales: int = 4,
    trim: float = 0.2,
) -> Float[Tensor, ""]:
    """Trimmed absolute error plus gradient matching of values that are already comparable."""
    error = trimmed_absolute_error(prediction, target, mask, trim)
    return error + gradient_weight * gradient_matching(prediction, target, mask, scales)


def spatial_loss(
    prediction: Float[Tensor, "batch frames height width"],
    target: Float[Tensor, "batch frames height width"],
    mask: Bool[Tensor, "batch frames height width"],
    *,
    gradient_weight: float = 0.5,
    scales: int = 4,
    trim: float = 0.2,
) -> Float[Tensor, ""]:
    """Scale-and-shift-invariant error plus gradient matching (MiDaS, eq. 7 and 11).

    One scale and one shift are removed from each item of the batch. [N, 1, H, W] therefore treats
    every frame by itself, while [B, T, H, W] gives the frames of a clip one scale in common.
    """
    valid = mask.flatten(1, 2)
    return spatial_error(
        normalise(prediction.flatten(1, 2), valid).values.view_as(prediction),
        normalise(target.flatten(1, 2), valid).values.view_as(target),
        mask,
        gradient_weight=gradient_weight,
        scales=scales,
        trim=trim,
    )


def temporal_gradient_matching(
    prediction: Float[Tensor, "batch time height width"],
    target: Float[Tensor, "batch time height width"],
    mask: Bool[Tensor, "batch time height width"],
    *,
    strides: int = 4,
    trim: float = 0.2,
    threshold: float = THRESHOLD,
) -> Float[Tensor, ""]:
    """Temporal changes of the prediction against those of the target (Video Depth Anything, eq. 3).

    Stride k takes every 2^k-th frame. A pixel counts where both frames are valid and the target
    changes by less than `threshold` of the later frame's range: large changes are mostly occlusion
    borders. Strides are weighted by 0.5^k, and the sum is divided by how many fit into the clip;
    a single frame has no loss.
    """
    total = prediction.new_zeros(())
    used = 0
    for k in range(strides):
        if 2**k >= prediction.shape[1]:
            break
        p, t, m = (clip[:, :: 2**k] for clip in (prediction, target, mask))
        later = t[:, 1:]
        span = later.amax(dim=(2, 3), keepdim=True) - later.amin(dim=(2, 3), keepdim=True)
        change = t.diff(dim=1)
        static = m[:, 1:] & m[:, :-1] & (change.abs() < threshold * span)
        error = trimmed_absolute_error(p.diff(dim=1), change, static, trim)
        total = total + TEMPORAL_DECAY**k * error
        used += 1
    return total / max(used, 1)


def log_error(
    prediction: Float[Tensor, "batch time height width"],
    target: Float[Tensor, "batch time height width"],
    mask: Bool[Tensor, "batch time height width"],
    *,
    gradient_weight: float = 0.0,
    scales: int = 4,
) -> Float[Tensor, ""]:
    """Absolute error of log inverse depth where each clip has one unknown scale, and no shift.

    The scale is removed by dividing each clip by its mean over valid pixels. Unlike the losses that
    are blind to a shift it makes zero mean infinitely far, so that depth is 1/prediction; and it
    weighs what is far away like what is near (after Eigen et al., NeurIPS 2014). Gradient matching
    of the logarithms, where wanted, asks for edges of the same ratio (MegaDepth, Li and Snavely,
    CVPR 2018, eq. 4).
    """
    logs = (_log_of_share(prediction, mask), _log_of_share(target, mask))
    error = trimmed_absolute_error(*logs, mask, trim=0.0)
    if gradient_weight == 0:
        return error
    return error + gradient_weight * gradient_matching(*logs, mask, scales)


def scale_drift(
    prediction: Float[Tensor, "batch time height width"],
    mask: Bool[Tensor, "batch time height width"],
) -> Float[Tensor, ""]:
    """Square of the mean, over clips, of the log of a clip's mean prediction over valid pixels.

    All other losses here are blind to a factor that all clips have in common. This one holds it at
    1, and leaves the clips free to differ, as near and far ones must.
    """
    logs = _mean_over_valid(prediction, mask).clamp(min=MIN_SPREAD).log().flatten()
    known = mask.flatten(1).any(dim=1)
    return ((logs * known).sum() / known.sum().clamp(min=1)).square()


def _mean_over_valid(
    clips: Float[Tensor, "batch time height width"], mask: Bool[Tensor, "batch time height width"]
) -> Float[Tensor, "batch 1 1 1"]:
    counts = mask.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)
    return (clips * mask).sum(dim=(1, 2, 3), keepdim=True) / counts


def _log_of_share(
    clips: Float[Tensor, "batch time height width"], mask: Bool[Tensor, "batch time height width"]
) -> Float[Tensor, "batch time height width"]:
    mean = _mean_over_valid(clips, mask)
    return (clips / mean.clamp(min=MIN_SPREAD) + LOG_FLOOR).clamp(min=MIN_SPREAD).log()


@dataclass(frozen=True)
class VideoDepthLossConfig:
    """Weights of `video_depth_loss`; the defaults are Video Depth Anything's.

    Attributes:
        gradient_weight: of spatial gradient matching beside the scale-and-shift-invariant error.
        scales: scales of spatial gradient matching.
        trim: share of the largest residuals to leave out.
        temporal_weight: of temporal gradient matching.
    """

    gradient_weight: float = 0.5
    scales: int = 4
    trim: float = 0.0
    temporal_weight: float = TEMPORAL_WEIGHT


class VideoDepthLosses(NamedTuple):
    """The parts of the loss as they enter the total, and the total."""

    spatial: Float[Tensor, ""]
    temporal: Float[Tensor, ""]
    total: Float[Tensor, ""]


def video_depth_loss(
    prediction: Float[Tensor, "batch time height width"],
    target: Float[Tensor, "batch time height width"],
    mask: Bool[Tensor, "batch time height width"],
    config: VideoDepthLossConfig | None = None,
) -> VideoDepthLosses:
    """Video Depth Anything's loss: frames right up to scale and shift, and right changes in time.

    For the temporal term every clip's prediction is first fitted to its target by least squares
    over all its frames; gradients flow through that fit.
    """
    config = config or VideoDepthLossConfig()
    spatial = spatial_loss(
        *(clip.flatten(0, 1).unsqueeze(1) for clip in (prediction, target, mask)),
        gradient_weight=config.gradient_weight,
        scales=config.scales,
        trim=config.trim,
    )
    scale, shift = (x[:, None, None, None] for x in fit_scale_and_shift(prediction, target, mask))
    temporal = config.temporal_weight * temporal_gradient_matching(
        scale * prediction + shift, target, mask, strides=1, trim=config.trim
    )
    return VideoDepthLosses(spatial, temporal, spatial + temporal)
