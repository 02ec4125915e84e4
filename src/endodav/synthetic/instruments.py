"""Instruments: shafts with jaws that reach into the view."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from endodav.synthetic.appearance import instrument
from endodav.synthetic.scene import RoundCone
from endodav.synthetic.trajectory import wander

JAWS: Mapping[int, float] = {0: 0.2, 1: 0.25, 2: 0.55}  # how many jaws a tool has, with weights
SHAFTS: Mapping[str, float] = {"plastic": 0.4, "steel": 0.3, "black": 0.2, "white": 0.1}


def draw_instrument(
    rng: np.random.Generator,
    T_world_from_base: Float[Tensor, "time 4 4"],
    reach: float,
    radius: float,
    entry: Float[Tensor, " 3"],
) -> tuple[RoundCone, ...]:
    """A tool held at `entry`, its tip moving about a random point at depth `reach`.

    Args:
        rng: decides on kind, tip and motion.
        T_world_from_base: frame in which the entry rests; the camera's for a working channel, the
            camera's first pose for a trocar.
        reach: Z-depth of the tip in the base frame, in mm.
        radius: of the shaft, in mm.
        entry: where the shaft comes from, in the base frame.
    """
    frames = len(T_world_from_base)
    aim = torch.tensor([*rng.uniform(-0.35, 0.35, 2), 1.0], dtype=torch.float32)
    sway = torch.tensor([0.12, 0.12, 0.06]) * rng.uniform(0, 1)
    tip = reach * (aim + sway * wander(rng, frames, 3))
    axis = F.normalize(tip - entry, dim=1)
    head = float(radius * rng.uniform(3, 7))  # length of wrist and jaws
    wrist = tip - head * axis
    bend = 0.6 * wander(rng, frames, 3) * rng.uniform(0, 1)
    pointing = F.normalize(axis + bend, dim=1)
    knuckle = wrist + 0.35 * head * pointing
    shaft = instrument(rng, str(rng.choice(list(SHAFTS), p=list(SHAFTS.values()))), metallic=False)
    steel = instrument(rng, "steel", metallic=True)
    parts = [
        (entry.expand(frames, 3), wrist, (radius, radius), shaft),
        (wrist, knuckle, (0.85 * radius, 0.6 * radius), steel),
    ]
    opening = _opening(rng, pointing)
    for side in (1, -1)[: int(rng.choice(list(JAWS), p=list(JAWS.values())))]:
        end = knuckle + 0.65 * head * F.normalize(pointing + side * opening, dim=1)
        parts.append((knuckle, end, (0.4 * radius, 0.15 * radius), steel))
    return tuple(
        RoundCone(_apply(T_world_from_base, a), _apply(T_world_from_base, b), radii, material)
        for a, b, radii, material in parts
    )


def _opening(
    rng: np.random.Generator, pointing: Float[Tensor, "time 3"]
) -> Float[Tensor, "time 3"]:
    """Sideways vectors by which the jaws of each frame stand apart."""
    hinge = torch.from_numpy(rng.standard_normal(3).astype(np.float32)).expand_as(pointing)
    sideways = F.normalize(torch.linalg.cross(pointing, hinge, dim=1), dim=1)
    width = rng.uniform(0.05, 0.35) * (1 + 0.6 * wander(rng, len(pointing), 1)).clamp_min(0.2)
    return width * sideways


def _apply(
    T_dst_from_src: Float[Tensor, "time 4 4"], points: Float[Tensor, "time 3"]
) -> Float[Tensor, "time 3"]:
    return (T_dst_from_src[:, :3, :3] @ points[:, :, None])[:, :, 0] + T_dst_from_src[:, :3, 3]
