"""One step of EndoUFM's training: images are taken apart into reflectance and light.

What a surface reflects does not change with the camera; its light does, and a small network says
how. So the reflectance is warped by depth and motion, lit anew, and compared with the target
(EndoUFM, arXiv 2508.17916; after IID-SfMLearner).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from endodav.geometry.warp import backproject, project, sample
from endodav.losses.photometric import absolute_error, masked_mean, photometric_error
from endodav.losses.smoothness import (
    edge_aware_smoothness,
    mean_normalised,
    region_smoothness,
)
from endodav.models.decompose import AdjustNet, Decomposition
from endodav.models.dpt import resize
from endodav.models.flow import SCALES
from endodav.training.adaptation.batch import NEIGHBOURS, Images, VideoBatch
from endodav.training.adaptation.camera import look
from endodav.training.adaptation.networks import DecompositionNetworks, disparities
from endodav.training.adaptation.recipe import DecompositionLossRecipe
from endodav.training.adaptation.registration import MOSTLY, Mask
from endodav.training.adaptation.terms import Depth, Losses, Scalar, averaged, full_depths, summed

Light = Float[Tensor, "frames 1 height width"]


class LitScene(NamedTuple):
    """What a step believes about its clips.

    Attributes:
        disparities: of the targets, finest scale first.
        depths: the same as depths at full size.
        intrinsics: of each target frame.
        motions: `T_neighbour_from_target` by neighbour.
        factors: of the targets (0) and their neighbours.
    """

    disparities: list[Float[Tensor, "frames 1 _ _"]]
    depths: list[Depth]
    intrinsics: Float[Tensor, "frames 3 3"]
    motions: dict[int, Float[Tensor, "frames 4 4"]]
    factors: dict[int, Decomposition]


class Relit(NamedTuple):
    """A neighbour as seen from the target, in the target's light.

    Attributes:
        reflectance: warped.
        light: warped, as it was.
        adjustment: what the light changes by.
        adjusted_light: with the change, within 0..1.
        image: the warped reflectance in that light.
        visible: pixels of the target that the neighbour's image covers, usable in both.
    """

    reflectance: Images
    light: Light
    adjustment: Light
    adjusted_light: Light
    image: Images
    visible: Mask


def observe_light(networks: DecompositionNetworks, batch: VideoBatch) -> LitScene:
    """Depth, motion, camera and the factors of every frame; differentiable."""
    found = disparities(networks, batch.targets())
    depths = full_depths(found, batch.size)
    intrinsics, motions = look(networks.camera, batch, depths[0], in_time=True)
    factors = {offset: networks.factors(batch.seen(offset)) for offset in (0, *NEIGHBOURS)}
    return LitScene(found, depths, intrinsics, motions, factors)


def relight(
    adjust: AdjustNet, scene: LitScene, batch: VideoBatch, offset: int, scale: int
) -> Relit:
    """See the neighbour at `offset` from the target by the depth at `scale`."""
    points = backproject(scene.depths[scale], scene.intrinsics)
    pixels = project(points, scene.intrinsics, scene.motions[offset]).pixels
    reflectance, light = (sample(factor, pixels) for factor in scene.factors[offset])
    covered = sample(torch.ones_like(light), pixels, "zeros") > 0
    difference = (batch.seen() - sample(batch.seen(offset), pixels)).abs()
    adjustment = adjust(difference * covered)
    adjusted = (light + adjustment).clamp(0, 1)
    usable = sample(batch.usable(offset).to(light.dtype), pixels) > MOSTLY
    visible = covered & usable & batch.usable()
    return Relit(reflectance, light, adjustment, adjusted, reflectance * adjusted, visible)


def decomposition_phase(
    adjust: AdjustNet, scene: LitScene, batch: VideoBatch, weights: DecompositionLossRecipe
) -> Losses:
    """Losses of depth, camera, both factors and the adjustment of light."""
    here = scene.factors[0].reflectance
    parts: dict[str, Scalar] = {}
    for scale in range(SCALES):
        terms = []
        for offset in NEIGHBOURS:
            relit = relight(adjust, scene, batch, offset, scale)
            error = photometric_error(relit.image, batch.seen(), weights.ssim_share)
            change = absolute_error(relit.reflectance, here)
            terms.append(
                {
                    "reprojection": masked_mean(error, relit.visible),
                    "reflectance": weights.reflectance * masked_mean(change, relit.visible),
                }
            )
        parts |= averaged(terms, scale)
    # Neither depends on the scale; only the finest disparity has to be smooth.
    parts["reconstruction"] = SCALES * weights.reconstruction * _reconstruction(scene, batch)
    parts["region_smoothness"] = weights.region_smoothness * _smoothness(scene, batch)
    return summed(parts)


def _reconstruction(scene: LitScene, batch: VideoBatch) -> Scalar:
    """Reflectance in its light is the image: a mean over the targets and both neighbours."""
    errors = [
        masked_mean(
            photometric_error(factors.reflectance * factors.light, batch.seen(offset)),
            batch.usable(offset),
        )
        for offset, factors in scene.factors.items()
    ]
    return torch.stack(errors).mean()


def _smoothness(scene: LitScene, batch: VideoBatch) -> Scalar:
    """Inside each region; without regions the whole image is one."""
    image = batch.seen()
    disparity = mean_normalised(resize(scene.disparities[0], batch.size))
    if batch.regions is None:
        return edge_aware_smoothness(disparity, image)
    return region_smoothness(disparity, image, batch.regions.flatten(0, 1))
