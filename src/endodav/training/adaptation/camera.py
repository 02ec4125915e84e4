"""Who says how the camera moved: a network, as published, or the images themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from endodav.geometry.camera import invert
from endodav.geometry.motion import FINEST, Alignment, Pyramid, align, pyramid
from endodav.models.pose import CameraNetwork, transform_of
from endodav.training.adaptation.batch import NEIGHBOURS, VideoBatch
from endodav.training.adaptation.terms import Depth

FOCAL_SHARE = 0.65  # of the width, to begin with; a laparoscope's is 0.8, a colonoscope's 0.5
LOG_FOCAL_RANGE = math.log(0.25), math.log(2.5)  # 127 to 23 degrees across
FOCAL_STEP = math.log(1.15)  # between the focal lengths that are compared
MEMORY = 0.015  # share of the newest batch in the running errors
RATE = 0.03  # of the way to where they seem least
PRIOR = 1e-3  # error for each step away from what is usual, squared and halved

Poses = Float[Tensor, "frames 4 4"]
Intrinsics = Float[Tensor, "frames 3 3"]


class Sighting(NamedTuple):
    """What is believed about the camera of some clips.

    Attributes:
        intrinsics: of each target frame.
        motions: `T_neighbour_from_target` by neighbour, translation in the unit of depth.
    """

    intrinsics: Intrinsics
    motions: dict[int, Poses]


class DirectCamera(nn.Module):
    """The motion that makes neighbours look like targets, by the focal length that does it best.

    Motion is solved for, given depth and focal length, so no gradient flows through it: where the
    error is least, it does not depend on the motion (the envelope theorem). The focal length is one
    for all footage. In training each batch is aligned with a shorter and a longer one as well; the
    running means of what is left, and a little for being unusual, place the minimum of a parabola,
    towards which it moves. It is a running statistic as those of batch norms are.

    Args:
        finest: rows or columns, whichever are fewer, at which images are aligned at most.

    Attributes:
        log_focal: logarithm of the focal length as a share of the width.
        errors: running means of the alignment error: with a shorter focal length, this, a longer.
        weight: of all batches in these means, 0 before the first and 1 after many.
    """

    log_focal: Tensor
    errors: Tensor
    weight: Tensor

    def __init__(self, finest: int = FINEST) -> None:
        super().__init__()
        self.finest = finest
        self.register_buffer("log_focal", torch.tensor(math.log(FOCAL_SHARE)))
        self.register_buffer("errors", torch.zeros(3))
        self.register_buffer("weight", torch.zeros(()))

    def intrinsics(self, batch: VideoBatch, step: int = 0) -> Intrinsics:
        """Of each target frame: square pixels as they were recorded, and a centred axis.

        Args:
            batch: the clips.
            step: by how many times `FOCAL_STEP` the focal length is longer.
        """
        height, width = batch.size
        squeeze = batch.squeezes()
        fx = ((self.log_focal + step * FOCAL_STEP).exp() * width).expand_as(squeeze)
        zero, one = torch.zeros_like(squeeze), torch.ones_like(squeeze)
        centre_x, centre_y = one * (width - 1) / 2, one * (height - 1) / 2
        rows = ((fx, zero, centre_x), (zero, fx / squeeze, centre_y), (zero, zero, one))
        return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)

    @torch.no_grad()
    def forward(self, batch: VideoBatch, depth: Depth) -> Sighting:
        """Align each neighbour with its target, whose depth is given."""
        pairs = _pairs(batch, depth, self.finest)
        known = batch.known_intrinsics()
        if known is not None:
            return Sighting(known, _motions(_aligned(pairs, known)))
        intrinsics = self.intrinsics(batch)
        found = _aligned(pairs, intrinsics)
        if self.training:
            shorter, longer = (_aligned(pairs, self.intrinsics(batch, k)) for k in (-1, 1))
            self._learn(torch.stack([_left(one) for one in (shorter, found, longer)]))
        return Sighting(intrinsics, _motions(found))

    def _learn(self, errors: Float[Tensor, " three"]) -> None:
        """Take note of a batch's errors and move the focal length to where they seem least."""
        if not errors.isfinite().all():
            return
        self.errors.lerp_(errors, MEMORY)
        self.weight.lerp_(torch.ones_like(self.weight), MEMORY)
        shorter, this, longer = self.errors / self.weight
        away = (self.log_focal - math.log(FOCAL_SHARE)) / FOCAL_STEP
        slope = (longer - shorter) / 2 + PRIOR * away
        bend = longer - 2 * this + shorter + PRIOR
        steps = -slope / bend.clamp(min=PRIOR)
        self.log_focal += RATE * FOCAL_STEP * steps.clamp(-1, 1)
        self.log_focal.clamp_(*LOG_FOCAL_RANGE)


def _pairs(batch: VideoBatch, depth: Depth, finest: int) -> dict[int, Pyramid]:
    return {
        offset: pyramid(
            batch.shown(),
            batch.shown(offset),
            depth,
            target_usable=batch.usable(),
            neighbour_usable=batch.usable(offset),
            finest=finest,
        )
        for offset in NEIGHBOURS
    }


def _aligned(pairs: Mapping[int, Pyramid], intrinsics: Intrinsics) -> dict[int, Alignment]:
    return {offset: align(images, intrinsics) for offset, images in pairs.items()}


def _motions(found: Mapping[int, Alignment]) -> dict[int, Poses]:
    return {offset: each.T_neighbour_from_target for offset, each in found.items()}


def _left(found: Mapping[int, Alignment]) -> Float[Tensor, ""]:
    return torch.cat([each.error for each in found.values()]).clamp(max=1).mean()


Camera = CameraNetwork | DirectCamera


def look(camera: Camera, batch: VideoBatch, depth: Depth, *, in_time: bool = False) -> Sighting:
    """Motion and intrinsics of a batch; gradients reach the camera's parameters.

    Args:
        camera: who says so.
        batch: the clips.
        depth: of the targets, which a network does not need.
        in_time: show a network each pair in the order of time, and turn the motion to the earlier
            frame round, as Monodepth2 and EndoUFM do.
    """
    if isinstance(camera, DirectCamera):
        sighting: Sighting = camera(batch, depth)
        return sighting
    earlier, later = NEIGHBOURS
    before = transform_of(camera(batch.seen(earlier), batch.seen()))
    pair = batch.seen(), batch.seen(later)
    after = camera(*(pair if in_time else pair[::-1]))
    motions = {earlier: invert(before) if in_time else before, later: transform_of(after)}
    intrinsics = batch.known_intrinsics()
    if intrinsics is None:  # as released: what the pair with the next frame says
        intrinsics = camera.intrinsics(after.feature, batch.size)
    return Sighting(intrinsics, motions)
