"""Losses of a clip as a whole, by the names of Video Depth Anything's ablation (table 4).

All but `video_alignment` judge changes from frame to frame, so they want a prediction that was
fitted to its target: one scale and one shift for the clip. A flow is that from each frame to the
next, in pixels, x before y. Every function is pure.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from endodav.geometry.warp import warp_by_flow
from endodav.losses.supervised import (
    THRESHOLD,
    fit_scale_and_shift,
    normalise,
    temporal_gradient_matching,
    trimmed_absolute_error,
)

WHOLLY_VALID = 0.999  # of the bilinear weights must come from valid pixels

Clips = Float[Tensor, "batch time height width"]
Masks = Bool[Tensor, "batch time height width"]
Flows = Float[Tensor, "batch pairs 2 height width"]


def video_alignment(
    prediction: Clips, target: Clips, mask: Masks, *, trim: float = 0.0
) -> Float[Tensor, ""]:
    """VideoAlign: mean absolute error once each clip has zero median and unit deviation."""
    valid = mask.flatten(1, 2)
    p, t = (normalise(clips.flatten(1, 2), valid).values for clips in (prediction, target))
    return trimmed_absolute_error(p, t, valid, trim)


def warped_difference(
    prediction: Clips,
    target: Clips,
    mask: Masks,
    flow: Flows,
    *,
    trim: float = 0.0,
    threshold: float = THRESHOLD,
) -> Float[Tensor, ""]:
    """OPW (Wang et al., ICCV 2023): change of the prediction along the flow, which should be 0."""
    change = _change_along(prediction, target, mask, flow, threshold)
    return trimmed_absolute_error(
        change.prediction, torch.zeros_like(change.prediction), change.counts, trim
    )


def stable_error(
    prediction: Clips,
    target: Clips,
    mask: Masks,
    flow: Flows,
    *,
    trim: float = 0.0,
    threshold: float = THRESHOLD,
) -> Float[Tensor, ""]:
    """SE: change of the prediction along the flow against that of the target."""
    change = _change_along(prediction, target, mask, flow, threshold)
    return trimmed_absolute_error(change.prediction, change.target, change.counts, trim)


class _Change(NamedTuple):
    prediction: Float[Tensor, "frames height width"]
    target: Float[Tensor, "frames height width"]
    counts: Bool[Tensor, "frames height width"]


def _change_along(
    prediction: Clips, target: Clips, mask: Masks, flow: Flows, threshold: float
) -> _Change:
    """From each frame to the next; counted where both are known and show the same point."""
    motion = flow.flatten(0, 1)
    now, then = (
        torch.stack([clips.flatten(0, 1) for clips in (prediction[:, t], target[:, t], mask[:, t])])
        for t in (slice(None, -1), slice(1, None))
    )
    # Outside of the image the mask's zeros come in, so that nothing counts there.
    moved = warp_by_flow(then.transpose(0, 1), motion, "zeros").transpose(0, 1)
    span = now[1].amax(dim=(1, 2), keepdim=True) - now[1].amin(dim=(1, 2), keepdim=True)
    change = moved - now
    known = (now[2] > 0) & (moved[2] > WHOLLY_VALID)
    return _Change(change[0], change[1], known & (change[1].abs() < threshold * span))


def video_term(
    name: str,
    prediction: Clips,
    target: Clips,
    mask: Masks,
    flow: Flows | None,
    *,
    trim: float = 0.0,
    threshold: float = THRESHOLD,
) -> Float[Tensor, ""]:
    """The loss of that name, for clips whose frames may have any scale and shift in common.

    Args:
        name: in `VIDEO_TERMS`.
        prediction: as the network gives it.
        target: in the units that the loss is to have.
        mask: where the target may be trusted.
        flow: of the target; only the names in `FLOW_TERMS` need it.
        trim: share of the largest residuals to leave out.
        threshold: share of a frame's range; where the target changes more, changes do not count.
    """
    if name == "ssi":
        return prediction.new_zeros(())
    if name == "video-align":
        return video_alignment(prediction, target, mask, trim=trim)
    scale, shift = (x[:, None, None, None] for x in fit_scale_and_shift(prediction, target, mask))
    fitted = scale * prediction + shift
    if name == "tgm":
        return temporal_gradient_matching(
            fitted, target, mask, strides=1, trim=trim, threshold=threshold
        )
    assert flow is not None, f"{name} needs flow"
    return FLOW_TERMS[name](fitted, target, mask, flow, trim=trim, threshold=threshold)


FLOW_TERMS = {"opw": warped_difference, "se": stable_error}
VIDEO_TERMS = ("tgm", "se", "opw", "video-align", "ssi")  # "ssi": each frame by itself
