"""One step of AF-SfMLearner's, EndoDAC's and EndoDAV's training: a batch in, named losses out.

    flow_phase    optical flow explains how each neighbour moved
    depth_phase   depth, camera and light explain it too

Each phase is a pure function of networks and batch; which parameters it changes, and when, is the
business of the schedule. Every named loss is what enters the total, weight included.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from endodav.geometry.warp import backproject, project, sample
from endodav.losses.consistency import DepthError, flow_depth_error, reprojection_error
from endodav.losses.photometric import (
    absolute_error,
    masked_mean,
    negative_correlation,
    photometric_error,
)
from endodav.losses.smoothness import (
    appearance_smoothness,
    edge_aware_smoothness,
    mean_normalised,
)
from endodav.models.dpt import resize
from endodav.models.flow import SCALES
from endodav.training.adaptation.batch import NEIGHBOURS, Images, VideoBatch, pyramid
from endodav.training.adaptation.camera import Intrinsics, Poses, look
from endodav.training.adaptation.networks import RegistrationNetworks, disparities
from endodav.training.adaptation.recipe import RegistrationLossRecipe
from endodav.training.adaptation.registration import (
    Mask,
    Refinement,
    Registration,
    refine,
    register,
)
from endodav.training.adaptation.terms import Depth, Losses, Scalar, averaged, full_depths, summed


class View(NamedTuple):
    """How one neighbour relates to the targets.

    Attributes:
        registration: by optical flow.
        refinement: by appearance flow.
        T_neighbour_from_target: motion of the camera, as it is believed.
    """

    registration: Registration
    refinement: Refinement
    T_neighbour_from_target: Poses

    @property
    def visible(self) -> Mask:
        """What both frames show."""
        return self.registration.visible


class Scene(NamedTuple):
    """What the depth phase believes about its clips.

    Attributes:
        disparities: of the targets, as the network gives them, finest scale first.
        depths: the same as depths at full size.
        intrinsics: of each target frame.
        views: by neighbour.
        warped: each neighbour as seen from the targets, by depth and motion at the finest scale.
    """

    disparities: list[Float[Tensor, "frames 1 _ _"]]
    depths: list[Depth]
    intrinsics: Intrinsics
    views: dict[int, View]
    warped: dict[int, Images]


# -------------------------------------------------------------------------------- optical flow


def flow_phase(
    networks: RegistrationNetworks, batch: VideoBatch, weights: RegistrationLossRecipe
) -> Losses:
    """Losses of the optical-flow network: registration, and a smooth flow."""
    registrations = {offset: register(networks.flow, batch, offset) for offset in NEIGHBOURS}
    with torch.no_grad():
        refined = {
            offset: refine(networks.appearance, batch, registration).refined
            for offset, registration in registrations.items()
        }
    images = pyramid(batch.shown(), SCALES)
    parts: dict[str, Scalar] = {}
    for scale in range(SCALES):
        terms = [
            {
                "registration": masked_mean(
                    photometric_error(one.registered[scale], target[scale], weights.ssim_share),
                    one.visible,
                ),
                "flow_smoothness": weights.flow_smoothness
                / 2**scale
                * edge_aware_smoothness(one.flows[scale], images[scale]),
            }
            for one, target in zip(registrations.values(), refined.values(), strict=True)
        ]
        parts |= averaged(terms, scale)
    return summed(parts)


@torch.no_grad()
def registration_score(networks: RegistrationNetworks, batch: VideoBatch) -> list[Scalar]:
    """How alike targets and registered neighbours are at each scale, up to brightness; 1 at best.

    The better neighbour counts at each pixel, as one of them may hide it.
    """
    target = batch.shown().mean(dim=1, keepdim=True)
    registrations = [register(networks.flow, batch, offset) for offset in NEIGHBOURS]
    scores = []
    for scale in range(SCALES):
        maps = [
            negative_correlation(one.registered[scale].mean(dim=1, keepdim=True), target)
            for one in registrations
        ]
        scores.append(-torch.stack(maps).amin(dim=0).mean())
    return scores


# ------------------------------------------------------------------------------ depth and camera


def observe(networks: RegistrationNetworks, batch: VideoBatch) -> Scene:
    """Depth, motion, camera and light of a batch; gradients reach all networks but optical flow."""
    found = disparities(networks, batch.targets())
    depths = full_depths(found, batch.size)
    intrinsics, motions = look(networks.camera, batch, depths[0])
    views = {offset: _view(networks, batch, offset, T) for offset, T in motions.items()}
    warped = {
        offset: warp_by_depth(batch.shown(offset), depths[0], intrinsics, T)
        for offset, T in motions.items()
    }
    return Scene(found, depths, intrinsics, views, warped)


def depth_phase(
    scene: Scene, batch: VideoBatch, weights: RegistrationLossRecipe, *, temporal: bool = True
) -> Losses:
    """Losses of depth, camera and appearance flow.

    Args:
        scene: what `observe` returned for the batch.
        batch: the clips.
        weights: of the terms.
        temporal: whether depths of neighbouring frames have to agree; in EndoDAV only while the
            temporal adapters train.
    """
    images = pyramid(batch.shown(), SCALES)
    parts: dict[str, Scalar] = {}
    for scale in range(SCALES):
        terms = [
            _view_losses(scene, batch, offset, scale, weights, temporal) for offset in NEIGHBOURS
        ]
        parts |= averaged(terms, scale)
        size = images[scale].shape[-2], images[scale].shape[-1]
        disparity = mean_normalised(resize(scene.disparities[scale], size))
        smoothness = edge_aware_smoothness(disparity, images[scale])
        parts[f"smoothness/{scale}"] = weights.disparity_smoothness / 2**scale * smoothness
    return summed(parts)


def warp_by_depth(
    neighbour: Images, depth: Depth, intrinsics: Intrinsics, T_neighbour_from_target: Poses
) -> Images:
    """The neighbour as seen from the target, whose depth is given."""
    seen = project(backproject(depth, intrinsics), intrinsics, T_neighbour_from_target)
    return sample(neighbour, seen.pixels)


def depth_errors(
    scene: Scene, clip_length: int, offset: int, scale: int, *, as_released: bool = False
) -> tuple[DepthError, DepthError]:
    """Depths of neighbouring target frames against each other, by motion and by optical flow.

    Args:
        scene: what is believed.
        clip_length: target frames of a clip.
        offset: from each frame to the one it is compared with, -1 or 1.
        scale: of depth and flow.
        as_released: EndoDAV's program takes all clips of a batch for one, and lets the flow sample
            the frame that it starts from.
    """
    depth, view = scene.depths[scale], scene.views[offset]
    flow = resize(view.registration.flows[scale], (depth.shape[-2], depth.shape[-1]))
    length = len(depth) if as_released else clip_length
    src, dst = _neighbouring(length, offset)

    def pick(values: Tensor, which: slice) -> Tensor:
        clips = values.view(-1, length, *values.shape[1:])
        return clips[:, which].flatten(0, 1)

    by_motion = reprojection_error(
        pick(depth, src),
        pick(depth, dst),
        pick(scene.intrinsics, src),
        pick(view.T_neighbour_from_target, src),
        as_released=as_released,
    )
    start, end = (dst, src) if as_released else (src, dst)
    by_flow = flow_depth_error(
        pick(depth, start), pick(depth, end), pick(flow, src), as_released=as_released
    )
    return by_motion, by_flow


def _view(networks: RegistrationNetworks, batch: VideoBatch, offset: int, T: Poses) -> View:
    with torch.no_grad():
        registration = register(networks.flow, batch, offset)
    return View(registration, refine(networks.appearance, batch, registration), T)


def _view_losses(
    scene: Scene,
    batch: VideoBatch,
    offset: int,
    scale: int,
    weights: RegistrationLossRecipe,
    temporal: bool,
) -> dict[str, Scalar]:
    """Weighted terms of one neighbour at one scale."""
    view = scene.views[offset]
    target, registered = view.refinement.refined[scale], view.registration.registered
    warped = scene.warped[offset]
    if scale > 0:
        warped = warp_by_depth(
            batch.shown(offset), scene.depths[scale], scene.intrinsics, view.T_neighbour_from_target
        )
    return {
        "reprojection": masked_mean(
            photometric_error(warped, target, weights.ssim_share), view.visible
        ),
        "appearance": weights.appearance
        * masked_mean(absolute_error(target, registered[0]), view.visible),
        "appearance_smoothness": weights.appearance_smoothness
        * appearance_smoothness(
            view.refinement.changes[scale], batch.shown(), registered[scale], view.visible
        ),
    } | (_temporal_losses(scene, batch, offset, scale, weights) if temporal else {})


def _temporal_losses(
    scene: Scene, batch: VideoBatch, offset: int, scale: int, weights: RegistrationLossRecipe
) -> dict[str, Scalar]:
    by_motion, by_flow = depth_errors(
        scene, batch.clip_length, offset, scale, as_released=weights.as_released
    )
    return {
        "projection": weights.projection * _size(by_motion, weights),
        "flow_projection": weights.flow_projection * _size(by_flow, weights),
    }


def _size(error: DepthError, weights: RegistrationLossRecipe) -> Scalar:
    return error.relative() if weights.relative else error.mean()


def _neighbouring(length: int, offset: int) -> tuple[slice, slice]:
    """Frames that have a neighbour at `offset` within the clip, and those neighbours."""
    earlier, later = slice(0, length - 1), slice(1, length)
    return (earlier, later) if offset > 0 else (later, earlier)
