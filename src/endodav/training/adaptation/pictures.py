"""What a run sees, as pictures: the parts of a step, and depth over time before and after."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from endodav.models.dpt import resize
from endodav.training.adaptation.batch import NEIGHBOURS, VideoBatch
from endodav.training.adaptation.decomposition import observe_light, relight
from endodav.training.adaptation.networks import DecompositionNetworks, Networks, disparities
from endodav.training.adaptation.step import observe
from endodav.training.pictures import COLORMAP, GAP
from endodav.types import Kind
from endodav.video.colormap import fit_colour_scale

NEXT = NEIGHBOURS[-1]
REGISTRATION_PANELS = "input, refined target, next frame warped by depth, visible, inverse depth"
DECOMPOSITION_PANELS = "input, reflectance, next frame relit, visible, inverse depth"

Picture = UInt8[np.ndarray, "_ _ 3"]


def panels(networks: Networks) -> str:
    """What `parts_of_a_step` shows, from left to right."""
    lit = isinstance(networks, DecompositionNetworks)
    return DECOMPOSITION_PANELS if lit else REGISTRATION_PANELS


@torch.no_grad()
def parts_of_a_step(networks: Networks, batch: VideoBatch) -> Picture:
    """The middle target of the first clip, side by side with what explains its next frame.

    Args:
        networks: in evaluation mode.
        batch: a clip on their device.
    """
    middle = batch.clip_length // 2
    shown: list[Tensor]
    if isinstance(networks, DecompositionNetworks):
        lit = observe_light(networks, batch)
        relit = relight(networks.adjust, lit, batch, NEXT, 0)
        disparity, visible = lit.disparities[0], relit.visible
        shown = [batch.seen(), lit.factors[0].reflectance, relit.image]
    else:
        scene = observe(networks, batch)
        view = scene.views[NEXT]
        disparity, visible = scene.disparities[0], view.visible
        shown = [batch.shown(), view.refinement.refined[0], scene.warped[NEXT]]
    near = _values(resize(disparity, batch.size)[middle, 0])
    usable = batch.usable()[middle, 0].cpu().numpy()
    mask = visible[middle].float().expand(3, -1, -1)
    return beside(
        [*(_image(each[middle]) for each in shown), _image(mask), *_painted([near], usable)]
    )


@torch.no_grad()
def depth_over_time(networks: Networks, batch: VideoBatch, count: int) -> tuple[Picture, Picture]:
    """Targets of the first clip, and their inverse depth in one range of colours.

    Args:
        networks: in evaluation mode.
        batch: a clip on their device.
        count: of frames, spread over the clip.
    """
    found = resize(disparities(networks, batch.targets()[:1])[0], batch.size)
    length = batch.clip_length
    which = np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int))
    usable = batch.usable()[:length].any(dim=0)[0].cpu().numpy()
    frames = [_image(batch.shown()[k]) for k in which]
    return beside(frames), beside(_painted([_values(found[k, 0]) for k in which], usable))


def beside(pictures: Sequence[Picture]) -> Picture:
    """Pictures of the same height, with a gap between them."""
    gap = np.zeros((pictures[0].shape[0], GAP, 3), np.uint8)
    return np.concatenate([part for each in pictures for part in (each, gap)][:-1], axis=1)


def below(pictures: Sequence[Picture]) -> Picture:
    """Pictures of the same width, with a gap between them."""
    gap = np.zeros((GAP, pictures[0].shape[1], 3), np.uint8)
    return np.concatenate([part for each in pictures for part in (each, gap)][:-1])


def _painted(
    maps: Sequence[Float[np.ndarray, "height width"]], usable: Bool[np.ndarray, "height width"]
) -> list[Picture]:
    """Inverse depths in one range of colours, that of the usable pixels; the others are black."""
    known = [(each[usable] if usable.any() else each.ravel())[None] for each in maps]
    scale = fit_colour_scale(known, Kind.INVERSE_DEPTH, COLORMAP)
    return [np.where(usable[..., None], scale.paint(each), np.uint8(0)) for each in maps]


def _values(values: Tensor) -> Float[np.ndarray, "height width"]:
    return np.asarray(values.float().cpu().numpy(), np.float32)


def _image(values: Tensor) -> Picture:
    return np.asarray((255 * values.clamp(0, 1)).round().byte().permute(1, 2, 0).cpu().numpy())
