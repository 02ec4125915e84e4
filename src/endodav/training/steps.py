"""One training step as a pure function: model and batch in, named losses out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from endodav.losses.supervised import (
    VideoDepthLossConfig,
    log_error,
    normalise,
    video_depth_loss,
)
from endodav.training.data import Batch, Samples
from endodav.training.recipe import LossRecipe

ClipModel = Callable[[Tensor], Tensor]  # [B, T, 3, H, W] normalised -> [B, T, H, W] inverse depth


class Losses(NamedTuple):
    """The total to descend, and its unweighted parts for the log."""

    total: Float[Tensor, ""]
    parts: dict[str, Float[Tensor, ""]]


def training_losses(
    model: ClipModel, batch: Batch, weights: LossRecipe, autocast: torch.dtype | None = None
) -> Losses:
    """Losses of one batch: the forward pass in `autocast` where given, the losses in float32."""
    total, parts = _sample_losses(model, batch.clips, weights, autocast)
    named = {f"clips/{name}": value for name, value in parts.items()}
    if batch.images is not None:
        image_total, parts = _sample_losses(model, batch.images, weights, autocast)
        total = total + weights.images * image_total
        named |= {f"images/{name}": value for name, value in parts.items() if name != "temporal"}
    return Losses(total, named)


def _sample_losses(
    model: ClipModel, samples: Samples, weights: LossRecipe, autocast: torch.dtype | None
) -> Losses:
    with torch.autocast(samples.images.device.type, dtype=autocast, enabled=autocast is not None):
        prediction = model(samples.images)
    prediction = prediction.float()
    config = VideoDepthLossConfig(
        gradient_weight=weights.gradient, trim=weights.trim, temporal_weight=weights.temporal
    )
    # The temporal term is in units of the target: a clip's median and deviation become its units.
    target = normalise(samples.inverse_depth.flatten(1, 2), samples.valid.flatten(1, 2)).values
    target = target.view_as(samples.inverse_depth)
    losses = video_depth_loss(prediction, target, samples.valid, config)
    log = log_error(prediction, samples.inverse_depth, samples.valid)
    parts = {"spatial": losses.spatial, "temporal": losses.temporal, "log": log}
    return Losses(losses.total + weights.log * log, parts)
