"""How a neighbour is brought onto a target frame without depth: by optical flow, then by light.

AF-SfMLearner (Shao et al., MedIA 2022): optical flow registers the neighbour, and appearance flow
changes the target's colours to those of the neighbour, so that what is left to explain is geometry.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from endodav.geometry.warp import visible_mask, warp_by_flow
from endodav.models.dpt import resize
from endodav.models.flow import PairNetwork
from endodav.training.adaptation.batch import Images, VideoBatch

MOSTLY = 0.99  # of a bilinear sample must come from usable pixels

Mask = Bool[Tensor, "frames 1 height width"]


class Registration(NamedTuple):
    """A neighbour as seen from the target, by optical flow at each of four scales.

    Attributes:
        flows: from the target to the neighbour, in pixels of the frames, finest scale first.
        registered: the neighbour, warped by each of them at full size.
        visible: pixels of the target that the neighbour shows too, usable in both.
    """

    flows: list[Float[Tensor, "frames 2 _ _"]]
    registered: list[Images]
    visible: Mask


class Refinement(NamedTuple):
    """The target in the light of its neighbour, at each of four scales.

    Attributes:
        changes: what the appearance flow adds, also where nothing is visible.
        refined: the target with what it adds to visible pixels, within 0..1.
    """

    changes: list[Images]
    refined: list[Images]


def register(flow: PairNetwork, batch: VideoBatch, offset: int) -> Registration:
    """Warp the neighbours at `offset` onto their targets; differentiable but for the mask."""
    target, neighbour = batch.seen(), batch.seen(offset)
    flows = flow(neighbour, target)
    full = [resize(scale, batch.size) for scale in flows]
    with torch.no_grad():
        reverse = resize(flow(target, neighbour)[0], batch.size)
        usable = warp_by_flow(batch.usable(offset).to(reverse.dtype), full[0]) > MOSTLY
        visible = visible_mask(reverse).unsqueeze(1) & usable & batch.usable()
    shown = batch.shown(offset)
    return Registration(flows, [warp_by_flow(shown, scale) for scale in full], visible)


def refine(appearance: PairNetwork, batch: VideoBatch, registration: Registration) -> Refinement:
    """Give the targets the light of the registered neighbours; differentiable."""
    target = batch.shown()
    scales = appearance(registration.registered[0], target)
    changes = [resize(scale, batch.size) for scale in scales]
    refined = [(target + change * registration.visible).clamp(0, 1) for change in changes]
    return Refinement(changes, refined)
