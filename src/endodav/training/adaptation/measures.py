"""How good depth and motion are without any truth: by what they say about neighbouring frames.

Neither measure can be met by moving out of sight: what leaves the image counts as wrong.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from endodav.geometry.warp import backproject, project, sample
from endodav.losses.photometric import masked_mean, photometric_error
from endodav.training.adaptation.batch import NEIGHBOURS, Images, VideoBatch
from endodav.training.adaptation.decomposition import decomposition_phase, observe_light
from endodav.training.adaptation.networks import DecompositionNetworks, Networks
from endodav.training.adaptation.recipe import (
    AdaptRecipe,
    DecompositionLossRecipe,
    RegistrationLossRecipe,
)
from endodav.training.adaptation.step import depth_phase, observe, warp_by_depth
from endodav.training.adaptation.terms import Depth, Scalar

MEASURES = ("photometric", "depth", "loss")


class Belief(NamedTuple):
    """What networks of any method believe about the targets of some clips.

    Attributes:
        depth: at full size.
        intrinsics: of each target frame.
        motions: `T_neighbour_from_target` by neighbour.
        loss: of the depth phase, all terms.
    """

    depth: Depth
    intrinsics: Float[Tensor, "frames 3 3"]
    motions: dict[int, Float[Tensor, "frames 4 4"]]
    loss: Scalar


@torch.no_grad()
def measure(networks: Networks, recipe: AdaptRecipe, batch: VideoBatch) -> dict[str, Scalar]:
    """All measures of some clips, by networks in evaluation mode; less is better."""
    belief = believe(networks, recipe, batch)
    return {
        "photometric": photometric(belief, batch),
        "depth": depth_disagreement(belief, batch),
        "loss": belief.loss,
    }


def believe(networks: Networks, recipe: AdaptRecipe, batch: VideoBatch) -> Belief:
    """Ask the networks about some clips."""
    weights = recipe.loss
    if isinstance(networks, DecompositionNetworks):
        assert isinstance(weights, DecompositionLossRecipe)
        lit = observe_light(networks, batch)
        loss = decomposition_phase(networks.adjust, lit, batch, weights).total
        return Belief(lit.depths[0], lit.intrinsics, lit.motions, loss)
    assert isinstance(weights, RegistrationLossRecipe)
    scene = observe(networks, batch)
    motions = {offset: view.T_neighbour_from_target for offset, view in scene.views.items()}
    loss = depth_phase(scene, batch, weights).total
    return Belief(scene.depths[0], scene.intrinsics, motions, loss)


def photometric(belief: Belief, batch: VideoBatch) -> Scalar:
    """How unlike the targets are their neighbours, warped by depth and motion.

    The more alike neighbour counts at each pixel, as one of them may hide it (Monodepth2). The
    light of the frames is as it was recorded.
    """
    errors = [
        photometric_error(_warped(belief, batch, offset), batch.shown()) for offset in NEIGHBOURS
    ]
    return masked_mean(torch.minimum(*errors), batch.usable())


def depth_disagreement(belief: Belief, batch: VideoBatch) -> Scalar:
    """How much depth, moved to the next or previous frame, differs from the depth found there.

    As a share of depth, at most 1, which is also what a point outside the image counts; 0 where a
    clip has one target only.
    """
    length = batch.clip_length
    if length == 1:
        return belief.depth.new_zeros(())
    errors = [_disagreement(belief, batch, offset) for offset in NEIGHBOURS]
    return torch.stack(errors).mean()


def _disagreement(belief: Belief, batch: VideoBatch, offset: int) -> Scalar:
    length = batch.clip_length
    earlier, later = slice(0, length - 1), slice(1, length)
    src, dst = (earlier, later) if offset > 0 else (later, earlier)

    def pick(values: Tensor, which: slice) -> Tensor:
        clips = values.view(-1, length, *values.shape[1:])
        return clips[:, which].flatten(0, 1)

    intrinsics, motion = pick(belief.intrinsics, src), pick(belief.motions[offset], src)
    seen = project(backproject(pick(belief.depth, src), intrinsics), intrinsics, motion)
    found = sample(pick(belief.depth, dst).unsqueeze(1), seen.pixels, "zeros")
    share = (seen.depth.unsqueeze(1) - found).abs() / seen.depth.unsqueeze(1).clamp(min=1e-6)
    return masked_mean(share.clamp(max=1), pick(batch.usable(), src))


def _warped(belief: Belief, batch: VideoBatch, offset: int) -> Images:
    return warp_by_depth(
        batch.shown(offset), belief.depth, belief.intrinsics, belief.motions[offset]
    )
