"""What a camera network that begins at random learns first: motions that were made up.

A frame and a depth for it are enough to paint what a camera would see after any small motion, and
of such a pair the motion is known. Nothing has to be recorded or labelled for it, and the depth
need not be right: the pair shows the motion of a camera in a scene of that depth. So the network
learns to see motion from the footage it is to be used on, as it otherwise would from ImageNet and
tens of thousands of steps.
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor

from endodav.geometry.camera import rigid, rotation_from_axis_angle
from endodav.geometry.warp import backproject, project, rigid_flow, sample
from endodav.losses.photometric import masked_mean
from endodav.models.pose import CameraNetwork, Motion, transform_of
from endodav.training.adaptation.batch import Images, VideoBatch
from endodav.training.adaptation.camera import Intrinsics, Poses, usual_intrinsics
from endodav.training.adaptation.networks import DecompositionNetworks, Networks, disparities
from endodav.training.adaptation.registration import Mask
from endodav.training.adaptation.terms import Depth, Losses, full_depths

LEARNING_RATE = 1e-3  # at most
WARM_UP = 50  # lessons
LARGEST = 0.25  # of the width: what a pixel may be wrong by, as the few beside the lens would be
MOST_BRIGHTER = 4.0  # ratio of distances from the light
DARKEST = 1e-3  # mean of an image in 0..1
DISPLAY_GAMMA = 2.2
PERCENT = 100.0


class Imagined(NamedTuple):
    """Pairs of images whose motion is known because it was made up.

    Attributes:
        targets: what the camera would have seen.
        neighbours: what it saw.
        depths: of the targets.
        intrinsics: of both.
        T_neighbour_from_target: the motion between them, in the unit of depth.
        usable: pixels of the targets that show it.
    """

    targets: Images
    neighbours: Images
    depths: Depth
    intrinsics: Intrinsics
    T_neighbour_from_target: Poses
    usable: Mask


def learning_rate(done: int, lessons: int) -> float:
    """The learning rate after some of the lessons: a linear warm-up, then half a cosine to zero.

    Without the warm-up a new network learned nothing in 200 lessons.

    >>> [round(learning_rate(done, 200), 6) for done in (0, 49, 100, 200)]
    [2e-05, 0.000859, 0.0005, 0.0]
    """
    rate = LEARNING_RATE * min(1.0, (done + 1) / WARM_UP)
    return rate * (1 + math.cos(math.pi * done / lessons)) / 2


def lesson(networks: Networks, batch: VideoBatch) -> Losses:
    """How far what the camera network says is from the motions that were made up.

    Terms: "motion", the mean distance between where a pixel goes and where it is said to go, in
    percent of the width; "intrinsics", the mean error of focal lengths and principal point as
    shares of the sides, against the usual ones, which are a place to begin at.

    Args:
        networks: whose camera is a network; gradients reach nothing else.
        batch: clips with `motions`.
    """
    with torch.no_grad():
        depths = full_depths(disparities(networks, batch.targets()), batch.size)[0]
        pairs = imagine(batch, depths)
    camera = cast(CameraNetwork, networks.camera)
    motion = _said(camera, pairs, in_time=isinstance(networks, DecompositionNetworks))
    seen, said = (
        rigid_flow(pairs.depths, pairs.intrinsics, T)
        for T in (pairs.T_neighbour_from_target, transform_of(motion))
    )
    width = batch.size[1]
    away = ((said - seen).abs().mean(dim=1, keepdim=True) / width).clamp(max=LARGEST)
    parts = {"motion": PERCENT * masked_mean(away, pairs.usable)}
    if batch.known_intrinsics() is None:
        K = camera.intrinsics(motion.feature, batch.size)
        sides = K.new_tensor(batch.size[::-1]).unsqueeze(-1)
        parts["intrinsics"] = ((K - pairs.intrinsics)[:, :2] / sides).abs().mean()
    return Losses(torch.stack(list(parts.values())).sum(), parts)


def imagine(batch: VideoBatch, depths: Depth) -> Imagined:
    """Paint each target frame as it would be seen after its motion.

    The frame is the neighbour, and its depth is taken for that of the picture painted. The light is
    at the lens, so that what comes nearer gets brighter, while the camera holds the mean. What is
    not usable, as the rim of the field of view or a highlight, stays where it is, as it does on an
    endoscope's own pictures.

    Raises:
        ValueError: the batch has no motions.
    """
    if batch.motions is None:
        raise ValueError("The batch has no motions to imagine.")
    known = batch.known_intrinsics()
    K = usual_intrinsics(batch) if known is None else known
    seen, motions = batch.seen(), batch.motions.flatten(0, 1)
    unit = depths.flatten(1).median(dim=1, keepdim=True).values
    T = rigid(rotation_from_axis_angle(motions[:, :3]), unit * motions[:, 3:])
    points = backproject(depths, K)
    there = project(points, K, T)
    usable = batch.usable() & (there.depth > 0).unsqueeze(1)
    moved = sample(seen, there.pixels) * _brightening(points, T).unsqueeze(1)
    moved = moved * (seen.mean((1, 2, 3)) / moved.mean((1, 2, 3)).clamp(min=DARKEST)).view(
        -1, 1, 1, 1
    )
    targets = torch.where(usable, moved.clamp(0, 1), seen)
    return Imagined(targets, seen, depths, K, T, usable)


def _brightening(
    points: Float[Tensor, "pairs height width 3"], T: Poses
) -> Float[Tensor, "pairs height width"]:
    """By how much a picture's points are brighter, lit from its own camera and not the other's."""
    own = points.norm(dim=-1)
    other = (points @ T[:, None, :3, :3].mT + T[:, None, None, :3, 3]).norm(dim=-1)
    brighter: Tensor = (other / own).clamp(max=MOST_BRIGHTER) ** (2 / DISPLAY_GAMMA)
    return brighter


def _said(camera: CameraNetwork, pairs: Imagined, *, in_time: bool) -> Motion:
    """What the network says of `T_neighbour_from_target`, asked as `camera.look` asks it."""
    both = pairs.neighbours, pairs.targets
    return cast(Motion, camera(*(both[::-1] if in_time else both)))
