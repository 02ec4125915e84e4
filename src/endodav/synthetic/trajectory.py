"""Smooth motion: of the endoscope, of the instruments, and of the wall."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from endodav.geometry.camera import look_at, rotation_from_axis_angle
from endodav.synthetic.noise import smooth_signal

FRAMES_PER_KNOT = 10  # a hand changes its mind about that often


def wander(rng: np.random.Generator, frames: int, channels: int) -> Float[Tensor, "time channels"]:
    """Smooth random curves of order 1, whose speed does not depend on how many frames are drawn."""
    knots = max(2, math.ceil(frames / FRAMES_PER_KNOT) + 1)
    return smooth_signal(rng, frames, knots, channels)


def drift(
    rng: np.random.Generator, frames: int, speed: float, sway: float, reach: float
) -> Float[Tensor, " time"]:
    """A motion of `speed` a frame through 0 at mid-clip, with a random sway on top.

    It turns round before it is `reach` away, so that clips may be of any length.
    """
    time = torch.arange(frames, dtype=torch.float32) - (frames - 1) / 2
    return reach * torch.sin(speed / reach * time) + sway * wander(rng, frames, 1)[:, 0]


def breathing(rng: np.random.Generator, frames: int) -> Float[Tensor, "time 2"]:
    """The first deformation, slowly to and fro."""
    return F.pad(_cycle(rng, frames, 25, 90).sin()[:, None], (0, 1))


def peristalsis(rng: np.random.Generator, frames: int) -> Float[Tensor, "time 2"]:
    """Both deformations, a quarter of a period apart: a wave that travels."""
    phase = _cycle(rng, frames, 40, 150)
    return torch.stack([phase.cos(), phase.sin()], dim=1)


def pulling(rng: np.random.Generator, frames: int) -> Float[Tensor, "time 2"]:
    """Breathing, and the second deformation now and then between none and all of it."""
    pull = wander(rng, frames, 1).add(0.5).clamp(0, 1)
    return torch.cat([breathing(rng, frames)[:, :1], pull * pull * (3 - 2 * pull)], dim=1)


def _cycle(rng: np.random.Generator, frames: int, shortest: float, longest: float) -> Tensor:
    """A phase that turns once in so many frames."""
    turns = torch.arange(frames, dtype=torch.float32) / rng.uniform(shortest, longest)
    return 2 * torch.pi * (turns + rng.uniform())


@dataclass(frozen=True)
class Gaze:
    """How the camera turns away from where it is heading.

    Attributes:
        angle: between heading and optical axis, in degrees.
        shake: amplitude of the random turning on top, in degrees.
        roll: amplitude of the rotation about the optical axis, in degrees.
    """

    angle: float
    shake: float
    roll: float


def steer(
    rng: np.random.Generator,
    positions: Float[Tensor, "time 3"],
    targets: Float[Tensor, "time 3"],
    gaze: Gaze,
) -> Float[Tensor, "time 4 4"]:
    """`T_world_from_camera` of a camera that moves along `positions`, heading for `targets`.

    Args:
        rng: decides on the direction of the gaze and on the random turning.
        positions: camera centres in the world in mm.
        targets: points that the camera would look at if its gaze followed its heading.
        gaze: how far it does not.
    """
    frames = len(positions)
    # the chart's axes are x, y, z; heading never comes near the y axis, so it can define "down"
    T = look_at(positions, targets, torch.tensor([0.0, 1.0, 0.0]))
    aside = rng.uniform(0, 2 * math.pi)
    turn = torch.deg2rad(gaze.shake * wander(rng, frames, 2))
    turn = turn + math.radians(gaze.angle) * torch.tensor([math.cos(aside), math.sin(aside)])
    roll = torch.deg2rad(gaze.roll * wander(rng, frames, 1)) + rng.uniform(-math.pi, math.pi)
    tilt = rotation_from_axis_angle(F.pad(turn, (0, 1)))
    spin = rotation_from_axis_angle(F.pad(roll, (2, 0)))
    return torch.cat(
        [torch.cat([T[:, :3, :3] @ tilt @ spin, T[:, :3, 3:]], dim=2), T[:, 3:]], dim=1
    )
