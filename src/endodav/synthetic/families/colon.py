"""A long winding tube with folds and polyps, collapsed or inflated: colon, oesophagus, ureter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from endodav.synthetic.families.common import (
    CLEARANCE,
    clearance,
    closed_noise,
    find_clear,
    lining,
    log_uniform,
)
from endodav.synthetic.families.tubes import (
    Flight,
    Grid,
    bump,
    closed_ends,
    fly_through,
    gentle_change,
    random_chart,
    rings,
    roughness,
    squeeze,
    travelling_wave,
    tube_grid,
    tube_wall,
)
from endodav.synthetic.instruments import draw_instrument
from endodav.synthetic.scene import RoundCone, Scene
from endodav.synthetic.trajectory import breathing, peristalsis

COLON_TISSUES = ("mucosa", "pale mucosa", "orange mucosa", "inflamed", "serosa", "fascia")
COLLAPSED = 0.2  # share of tubes that are squeezed to a slit or a star
WITH_TOOL = 0.15  # share of scenes with a tool out of the working channel
CLOSE_UP = 0.25  # share of cameras that look at the wall near by
SPREADS = {10.0: 0.5, 30.0: 0.3, 60.0: 0.2}  # of the gaze in degrees, with weights


def draw_colon(rng: np.random.Generator, frames: int) -> Scene:
    """A scene of this family."""
    radius = log_uniform(rng, 5, 24)
    half_length = rng.uniform(5, 8)
    chart = random_chart(rng, radius, radius * half_length)
    grid = tube_grid(half_length)
    shape, end = _radii(rng, grid)
    motion = rng.choice(["still", "breathing", "peristalsis"], p=[0.45, 0.3, 0.25])
    if motion == "peristalsis":
        changes = travelling_wave(rng, grid, rng.uniform(0.02, 0.09)) * shape.clamp_max(1)
        deformation = peristalsis(rng, frames)
    else:
        changes = gentle_change(rng, grid, 0.06 * float(motion == "breathing"))
        deformation = breathing(rng, frames)
    material = lining(rng, COLON_TISSUES, radius * rng.uniform(3, 6))
    wall = tube_wall(chart, grid, radius, shape, changes, material)
    close = rng.random() < CLOSE_UP
    flight = Flight(
        first=-0.6 * radius * half_length,
        last=radius * (end - float(rng.choice([0.5, 2.5], p=[0.2, 0.8]))),
        offset=0.85 if close else 0.75,
        backward=0.1,
        spread=70.0 if close else float(rng.choice(list(SPREADS), p=list(SPREADS.values()))),
    )

    def draw(_: int) -> Scene:
        poses = fly_through(rng, frames, chart, radius, flight)
        return Scene((wall,), (), deformation, poses)

    scene = find_clear(draw, CLEARANCE * radius)
    if rng.random() >= WITH_TOOL:
        return scene
    held = replace(scene, solids=_forceps(rng, scene.T_world_from_camera, radius))
    return held if clearance(held) > 0.03 * radius else scene


def _radii(rng: np.random.Generator, grid: Grid) -> tuple[Float[Tensor, "rows cols"], float]:
    """The radius of the tube, and where it ends, in units of its mean radius."""
    shape = 1 + rng.uniform(0, 0.16) * closed_noise(rng, (8, 4), grid.shape, octaves=2)
    if rng.random() < COLLAPSED:
        shape = shape * squeeze(rng, grid, rng.uniform(0.25, 0.5), int(rng.integers(2, 5)))
    else:
        shape = shape * squeeze(rng, grid, rng.uniform(-0.25, 0.25), 2)
    if rng.random() < 0.8:
        pitch, depth = rng.uniform(0.6, 1.8), rng.uniform(0.1, 0.6)
        shape = shape * rings(rng, grid, pitch, depth, (0.06, 0.25), int(rng.integers(2, 4)))
    for _ in range(int(rng.integers(0, 5))):
        shape = shape - bump(rng, grid, (0.06, 0.3))
    shape = shape.clamp_min(0.25) + roughness(rng, grid, rng.uniform(0.002, 0.02))
    end = float(grid.arc[-1]) * rng.uniform(0.2, 0.98)
    return shape * closed_ends(grid, end, rng.uniform(0.3, 1.5)), end


def _forceps(
    rng: np.random.Generator, poses: Float[Tensor, "time 4 4"], radius: float
) -> tuple[RoundCone, ...]:
    """A tool out of the working channel beside the lens."""
    entry = torch.tensor([*rng.normal(0, 0.5, 2), -0.5]) * radius
    entry = entry + 0.2 * radius * F.normalize(entry, dim=0)
    thickness = float(radius * rng.uniform(0.04, 0.1))
    return draw_instrument(rng, poses, radius * rng.uniform(0.5, 1.2), thickness, entry.float())
