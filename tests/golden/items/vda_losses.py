"""Item 07: the training losses of Video Depth Anything, values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from endodav.losses.supervised import (
    VideoDepthLossConfig,
    fit_scale_and_shift,
    gradient_matching,
    normalise,
    spatial_error,
    spatial_loss,
    temporal_gradient_matching,
    video_depth_loss,
)

if TYPE_CHECKING:
    from tests.golden.case import Case
    from tests.golden.registry import Runner

# The official constructor's names for what our config calls otherwise.
CONFIG_NAMES = {
    "alpha": "gradient_weight",
    "scales": "scales",
    "trim": "trim",
    "stable_scale": "temporal_weight",
}
TEMPORAL_NAMES = {"trim": "trim", "temp_grad_scales": "strides", "diff_depth_th": "threshold"}


def tensors(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Prediction (a leaf that wants a gradient), target and mask of a case."""
    prediction, target, mask = (
        torch.from_numpy(case.inputs[name]) for name in ("prediction", "target", "mask")
    )
    return prediction.requires_grad_(), target, mask.bool()


def frames(clips: Tensor) -> Tensor:
    """[B, T, H, W] as B*T groups of one frame."""
    return clips.flatten(0, 1).unsqueeze(1)


def with_gradient(prediction: Tensor, loss: Tensor) -> dict[str, Any]:
    """The loss and its gradient, named as in the fixtures."""
    loss.backward()
    assert prediction.grad is not None
    return {"loss": loss.item(), "grad_prediction": prediction.grad.numpy()}


def total(case: Case) -> dict[str, Any]:
    prediction, target, mask = tensors(case)
    options = {CONFIG_NAMES[name]: value for name, value in case.args["ctor"].items()}
    losses = video_depth_loss(prediction, target, mask, VideoDepthLossConfig(**options))
    named = {
        f"{official}_loss": value.item()
        for official, value in zip(("spatial", "stable", "total"), losses, strict=True)
    }
    return with_gradient(prediction, losses.total) | named


def spatial_frames(case: Case) -> dict[str, Any]:
    prediction, target, mask = tensors(case)
    return with_gradient(prediction, spatial_loss(frames(prediction), frames(target), frames(mask)))


def spatial_unnormalised(case: Case) -> dict[str, Any]:
    prediction, target, mask = tensors(case)
    loss = spatial_error(frames(prediction), frames(target), frames(mask))
    return with_gradient(prediction, loss)


def spatial_clips(case: Case) -> dict[str, Any]:
    """Frames stacked into [B, n*H, W] share one scale."""
    stacks = case.args["num_frame_h"]
    prediction, target, mask = (
        clip.flatten(1, 2).unflatten(1, (stacks, -1)) for clip in tensors(case)
    )
    return {"loss": spatial_loss(prediction, target, mask).item()}


def temporal(case: Case) -> dict[str, Any]:
    prediction, target, mask = tensors(case)
    options = {TEMPORAL_NAMES[name]: value for name, value in case.args["ctor"].items()}
    loss = temporal_gradient_matching(prediction, target, mask, **options)
    return with_gradient(prediction, loss)


def scale_shift(case: Case) -> dict[str, Any]:
    prediction, target, mask = tensors(case)
    scale, shift = fit_scale_and_shift(prediction.detach(), target, mask)
    values, median, spread = normalise(target.flatten(0, 1), mask.flatten(0, 1))
    return {
        "scale": scale.numpy(), "shift": shift.numpy(), "normalised_target": values.numpy(),
        "median": median.numpy(), "spread": spread.numpy(),
    }  # fmt: skip


def gradient_scales(case: Case) -> dict[str, Any]:
    """Averaged over the valid pixels of the batch, or of each image and then over images."""
    prediction, target, mask = (frames(clips) for clips in tensors(case))
    outputs: dict[str, Any] = {}
    for scales in range(1, 5):
        batch = gradient_matching(prediction, target, mask, scales)
        images = zip(*(x.split(1) for x in (prediction, target, mask)), strict=True)
        each = torch.stack([gradient_matching(*image, scales) for image in images])
        outputs[f"batch-based_{scales}"] = batch.item()
        outputs[f"image-based_{scales}"] = each.mean().item()
    return outputs


# By how the description of the call begins; the first that fits answers.
CALLS: dict[str, Callable[[Case], dict[str, Any]]] = {
    "VideoDepthLoss": total,
    "TrimmedProcrustesLoss()(..., no_norm=True)": spatial_unnormalised,
    "TrimmedProcrustesLoss()(..., num_frame_h": spatial_clips,
    "TrimmedProcrustesLoss": spatial_frames,
    "TemporalGradientMatchingLoss": temporal,
    "compute_scale_and_shift": scale_shift,
    "GradientLoss": gradient_scales,
}


def run(case: Case) -> dict[str, Any]:
    """Whatever the case calls."""
    return next(answer(case) for call, answer in CALLS.items() if case.call.startswith(call))


ITEMS: dict[str, Runner] = {"07_vda_losses": run}
