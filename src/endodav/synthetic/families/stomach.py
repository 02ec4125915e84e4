"""A large closed bag with folds along it, which narrows towards the pylorus."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from endodav.synthetic.appearance import instrument
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
    roughness,
    squeeze,
    travelling_wave,
    tube_grid,
    tube_wall,
)
from endodav.synthetic.scene import RoundCone, Scene, TubeChart
from endodav.synthetic.trajectory import breathing, peristalsis

STOMACH_TISSUES = ("mucosa", "pale mucosa", "orange mucosa", "inflamed")
RETROFLEXED = 0.25  # share of cameras that look back, at their own shaft
SHAFT_RADIUS = (4.0, 6.0)  # mm
SHAFT_CLEARANCE = 2.0  # mm between the shaft and the lens


def draw_stomach(rng: np.random.Generator, frames: int) -> Scene:
    """A scene of this family."""
    radius = log_uniform(rng, 18, 50)
    half_length = rng.uniform(1.4, 2.4)
    chart = random_chart(rng, 2 * radius, radius * half_length)
    grid = tube_grid(half_length)
    shape = _radii(rng, grid)
    wave = rng.random() < 0.4
    changes = (
        travelling_wave(rng, grid, rng.uniform(0.01, 0.06)) * shape
        if wave
        else gentle_change(rng, grid, 0.04)
    )
    deformation = peristalsis(rng, frames) if wave else breathing(rng, frames)
    material = lining(rng, STOMACH_TISSUES, radius * rng.uniform(1.5, 4))
    wall = tube_wall(chart, grid, radius, shape, changes, material)
    back = rng.random() < RETROFLEXED
    flight = Flight(
        first=-0.5 * radius * half_length,
        last=0.5 * radius * half_length,
        offset=0.8,
        backward=1.0 if back else 0.2,
        spread=15.0 if back else float(rng.choice([20, 60])),
    )

    def draw(_: int) -> Scene:
        poses = fly_through(rng, frames, chart, radius, flight)
        return Scene((wall,), (), deformation, poses)

    scene = find_clear(draw, 0.8 * CLEARANCE * radius)
    if not back:
        return scene
    seen = replace(scene, solids=(_shaft(rng, chart, frames),))
    return seen if clearance(seen) > SHAFT_CLEARANCE else scene


def _radii(rng: np.random.Generator, grid: Grid) -> Float[Tensor, "rows cols"]:
    """A bag with rugae in its body, which end where the smooth antrum begins."""
    ends = closed_ends(grid, float(grid.arc[-1]), float(grid.arc[-1]) * rng.uniform(0.6, 0.95))
    shape = 1 + rng.uniform(0.03, 0.14) * closed_noise(rng, (8, 4), grid.shape, octaves=2)
    shape = shape * squeeze(rng, grid, rng.uniform(0, 0.25), 2)
    antrum = torch.sigmoid(5 * (grid.arc - float(grid.arc[-1]) * rng.uniform(-0.2, 1.0)))
    shape = shape * (1 - rng.uniform(0.2, 0.5) * antrum)
    wobble = rng.uniform(0.1, 0.5) * closed_noise(rng, (8, 4), grid.shape, octaves=3)
    count = int(rng.integers(8, 22))
    folds = torch.cos(count * (grid.angle + wobble)).add(0.3).clamp_min(0)
    presence = closed_noise(rng, (8, 4), grid.shape, octaves=2).add(0.7).clamp(0, 1)
    shape = shape - rng.uniform(0, 0.1) * folds * presence * (1 - antrum)
    for _ in range(int(rng.integers(0, 3))):
        shape = shape - bump(rng, grid, (0.04, 0.2))
    return (shape.clamp_min(0.2) + roughness(rng, grid, rng.uniform(0.001, 0.01))) * ends


def _shaft(rng: np.random.Generator, chart: TubeChart, frames: int) -> RoundCone:
    """The endoscope's own shaft, from the cardia into the bag."""
    bearing = rng.uniform(0, 2 * math.pi)
    aside = 0.5 * chart.half_length * rng.uniform(0.2, 0.6)
    entry = torch.tensor([aside * math.cos(bearing), aside * math.sin(bearing), -chart.half_length])
    inside = entry * torch.tensor([0.8, 0.8, rng.uniform(-0.2, 0.5)])
    start, end = chart.to_world(torch.stack([entry, inside]).float())
    thick = rng.uniform(*SHAFT_RADIUS)
    material = instrument(rng, "black", metallic=False)
    return RoundCone(start.expand(frames, 3), end.expand(frames, 3), (thick, thick), material)
