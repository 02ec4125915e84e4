"""One training step as a pure function: model and batch in, named losses out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from endodav.losses.supervised import log_error, normalise, scale_drift, spatial_loss
from endodav.losses.video import video_term
from endodav.training.data import Batch, Samples
from endodav.training.recipe import LossRecipe

ClipModel = Callable[[Tensor], Tensor]  # [B, T, 3, H, W] normalised -> [B, T, H, W] inverse depth


class Teacher(NamedTuple):
    """A frozen model of single images, and the weight of the distance from it."""

    predict: ClipModel
    weight: float


class Losses(NamedTuple):
    """The total to descend, and its unweighted parts for the log."""

    total: Float[Tensor, ""]
    parts: dict[str, Float[Tensor, ""]]


def training_losses(
    model: ClipModel,
    batch: Batch,
    weights: LossRecipe,
    autocast: torch.dtype | None = None,
    teacher: Teacher | None = None,
) -> Losses:
    """Losses of one batch: the forward pass in `autocast` where given, the losses in float32.

    Args:
        model: what learns.
        batch: what it sees.
        weights: of the parts.
        autocast: precision of the forward pass.
        teacher: what the single images are distilled from.
    """
    samples = batch.clips
    prediction = _predict(model, samples, autocast)
    total, parts = _supervised(prediction, samples, weights, weights.spatial)
    temporal = video_term(
        weights.video,
        prediction,
        _in_own_units(samples),
        samples.valid,
        samples.flow,
        trim=weights.trim,
        threshold=weights.threshold,
    )
    total = total + weights.temporal * temporal
    named = {f"clips/{name}": value for name, value in parts.items()} | {"clips/temporal": temporal}
    if batch.images is None:
        return Losses(total, named)
    prediction = _predict(model, batch.images, autocast)
    image_total, parts = _supervised(prediction, batch.images, weights, 1.0)
    named |= {f"images/{name}": value for name, value in parts.items()}
    if teacher is not None:
        target = teacher.predict(batch.images.images)
        everywhere = torch.ones_like(target, dtype=torch.bool)
        distilled = spatial_loss(prediction, target, everywhere, trim=weights.trim)
        image_total = image_total + teacher.weight * distilled
        named["images/distilled"] = distilled
    return Losses(total + weights.images * image_total, named)


def _predict(
    model: ClipModel, samples: Samples, autocast: torch.dtype | None
) -> Float[Tensor, "batch time height width"]:
    with torch.autocast(samples.images.device.type, dtype=autocast, enabled=autocast is not None):
        prediction = model(samples.images)
    return prediction.float()


def _supervised(
    prediction: Float[Tensor, "batch time height width"],
    samples: Samples,
    weights: LossRecipe,
    spatial_weight: float,
) -> Losses:
    """What each frame by itself is wrong by, the log error of the clips, and how scale drifts."""
    spatial = spatial_loss(
        *(
            x.flatten(0, 1).unsqueeze(1)
            for x in (prediction, _in_own_units(samples), samples.valid)
        ),
        gradient_weight=weights.gradient,
        trim=weights.trim,
    )
    log = log_error(
        prediction,
        samples.inverse_depth,
        samples.valid,
        gradient_weight=weights.log_gradient,
    )
    drift = scale_drift(prediction, samples.valid)
    total = spatial_weight * spatial + weights.log * log + weights.scale * drift
    return Losses(total, {"spatial": spatial, "log": log, "scale": drift})


def _in_own_units(samples: Samples) -> Float[Tensor, "batch time height width"]:
    """Inverse depth with zero median and unit deviation in each clip, the unit of the losses."""
    flat = normalise(samples.inverse_depth.flatten(1, 2), samples.valid.flatten(1, 2)).values
    return flat.view_as(samples.inverse_depth)
