"""Who says how the camera moved: a network, as published, or the images themselves."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from endodav.geometry.camera import invert
from endodav.geometry.motion import align
from endodav.models.pose import CameraNetwork, transform_of
from endodav.training.adaptation.batch import NEIGHBOURS, VideoBatch
from endodav.training.adaptation.terms import Depth

FOCAL_SHARE = (
    0.65  # of the width, to begin with: between a laparoscope's 0.8 and a colonoscope's 0.5
)

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
    """The motion that makes neighbours look like targets; of one focal length, which is learned.

    The motion is solved for, given depth and focal length, so no gradient flows through it: where
    the error is least, it does not depend on the motion (the envelope theorem).

    Attributes:
        log_focal: logarithm of the focal length as a share of the width.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_focal = nn.Parameter(torch.tensor(math.log(FOCAL_SHARE)))

    def intrinsics(self, batch: VideoBatch) -> Intrinsics:
        """Of each target frame: square pixels as they were recorded, and a centred axis."""
        height, width = batch.size
        squeeze = batch.squeezes()
        fx = (self.log_focal.exp() * width).expand_as(squeeze)
        zero, one = torch.zeros_like(squeeze), torch.ones_like(squeeze)
        centre_x, centre_y = one * (width - 1) / 2, one * (height - 1) / 2
        rows = ((fx, zero, centre_x), (zero, fx / squeeze, centre_y), (zero, zero, one))
        return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)

    def forward(self, batch: VideoBatch, depth: Depth) -> Sighting:
        """Align each neighbour with its target, whose depth is given."""
        known = batch.known_intrinsics()
        intrinsics = self.intrinsics(batch) if known is None else known
        still = torch.eye(4, dtype=depth.dtype, device=depth.device).expand(len(depth), 4, 4)
        motions = {
            offset: align(
                batch.shown(),
                batch.shown(offset),
                depth,
                intrinsics,
                still,
                target_usable=batch.usable(),
                neighbour_usable=batch.usable(offset),
            ).T_neighbour_from_target
            for offset in NEIGHBOURS
        }
        return Sighting(intrinsics, motions)


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
    if in_time:
        before = camera(batch.seen(earlier), batch.seen())
        after = camera(batch.seen(), batch.seen(later))
        motions = {earlier: invert(transform_of(before)), later: transform_of(after)}
    else:
        before = camera(batch.seen(earlier), batch.seen())
        after = camera(batch.seen(later), batch.seen())
        motions = {earlier: transform_of(before), later: transform_of(after)}
    intrinsics = batch.known_intrinsics()
    if intrinsics is None:  # as released: what the pair with the next frame says
        intrinsics = camera.intrinsics(after.feature, batch.size)
    return Sighting(intrinsics, motions)
