"""What a camera network that begins at random learns first: the motion that aligns two images.

Photometric losses teach such a network next to nothing in hundreds of steps. What direct alignment
finds for a pair is a target that it can descend straight to, and alignment needs no training. So
the network learns to see motion from the footage that it is to be used on, as it otherwise would
from ImageNet and tens of thousands of steps; what it averages over many pairs is less noisy than
the alignment of each.
"""

from __future__ import annotations

import math

import torch

from endodav.geometry.warp import rigid_flow
from endodav.losses.photometric import masked_mean
from endodav.training.adaptation.batch import VideoBatch
from endodav.training.adaptation.camera import DirectCamera, look
from endodav.training.adaptation.networks import DecompositionNetworks, Networks, disparities
from endodav.training.adaptation.terms import Losses, full_depths

LEARNING_RATE = 1e-3  # at most
WARM_UP = 50  # lessons
LARGEST = 0.25  # of the width: what a pixel may be wrong by, as the few beside the lens would be
PERCENT = 100.0


def learning_rate(done: int, lessons: int) -> float:
    """The learning rate after some of the lessons: a linear warm-up, then half a cosine to zero.

    Without the warm-up a new network learned nothing in 200 lessons.

    >>> [round(learning_rate(done, 200), 6) for done in (0, 49, 100, 200)]
    [2e-05, 0.000859, 0.0005, 0.0]
    """
    rate = LEARNING_RATE * min(1.0, (done + 1) / WARM_UP)
    return rate * (1 + math.cos(math.pi * done / lessons)) / 2


def lesson(networks: Networks, teacher: DirectCamera, batch: VideoBatch) -> Losses:
    """How far what the camera network says is from what the teacher finds.

    Terms: "motion", the mean distance between where a pixel goes and where it is said to go, in
    percent of the width, which weighs rotation and translation by what they do to the picture;
    "intrinsics", where they are not known, the mean error of focal lengths and principal point as
    shares of the sides.

    Args:
        networks: whose camera is a network; gradients reach nothing else.
        teacher: aligns; its focal length moves where it is in training.
        batch: clips.
    """
    with torch.no_grad():
        depths = full_depths(disparities(networks, batch.targets()), batch.size)[0]
        found = teacher(batch, depths)
    in_time = isinstance(networks, DecompositionNetworks)
    said = look(networks.camera, batch, depths, in_time=in_time)
    height, width = batch.size
    errors = []
    for offset, T in found.motions.items():
        seen, told = (rigid_flow(depths, found.intrinsics, M) for M in (T, said.motions[offset]))
        away = ((told - seen).abs().mean(dim=1, keepdim=True) / width).clamp(max=LARGEST)
        errors.append(masked_mean(away, batch.usable()))
    parts = {"motion": PERCENT * torch.stack(errors).mean()}
    if batch.known_intrinsics() is None:
        sides = depths.new_tensor([[width], [height]])
        parts["intrinsics"] = ((said.intrinsics - found.intrinsics)[:, :2] / sides).abs().mean()
    return Losses(torch.stack(list(parts.values())).sum(), parts)
