"""Narrow passages: a trachea or bronchus that forks, or a nasal cavity with its turbinates."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from endodav.geometry.camera import invert, look_at, rotation_from_axis_angle
from endodav.synthetic.families.common import (
    CLEARANCE,
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
    tube_grid,
    tube_wall,
)
from endodav.synthetic.scene import Material, PlacedChart, Scene, TubeChart, Wall
from endodav.synthetic.trajectory import breathing

AIRWAY_TISSUES = ("mucosa", "pale mucosa", "orange mucosa", "inflamed", "serosa", "fascia")
BRANCH_SHAPE = (256, 128)  # cells of a branch's table
NASAL = 0.4  # share of passages that do not fork


def draw_airway(rng: np.random.Generator, frames: int) -> Scene:
    """A scene of this family."""
    radius = log_uniform(rng, 2.5, 11)
    half_length = rng.uniform(3.5, 6)
    chart = random_chart(rng, radius, radius * half_length)
    grid = tube_grid(half_length)
    nasal = rng.random() < NASAL
    end = half_length * rng.uniform(0.1, 0.9)
    shape = _nasal_radii(rng, grid) if nasal else _tracheal_radii(rng, grid)
    shape = shape.clamp_min(0.2) + roughness(rng, grid, rng.uniform(0.002, 0.02))
    shape = shape * closed_ends(grid, end, rng.uniform(0.4, 1.2))
    changes = gentle_change(rng, grid, 0.05 * float(rng.random() < 0.5))
    material = lining(rng, AIRWAY_TISSUES, radius * rng.uniform(3, 6))
    trunk = tube_wall(chart, grid, radius, shape, changes, material)
    walls = (trunk,) if nasal else (trunk, *_branches(rng, chart, radius, end, material))
    deformation = breathing(rng, frames)
    flight = Flight(
        first=-0.5 * radius * half_length,
        last=radius * (end - rng.uniform(0.5, 2.5)),
        offset=0.4 if nasal else 0.65,
        backward=0.05,
        spread=float(rng.choice([8, 25])),
    )

    def draw(_: int) -> Scene:
        return Scene(walls, (), deformation, fly_through(rng, frames, chart, radius, flight))

    return find_clear(draw, 0.6 * CLEARANCE * radius)


def _tracheal_radii(rng: np.random.Generator, grid: Grid) -> Float[Tensor, "rows cols"]:
    """Rings of cartilage, open behind, on a tube that is flattened there."""
    shape = 1 + rng.uniform(0, 0.08) * closed_noise(rng, (8, 4), grid.shape, octaves=2)
    shape = shape * _cartilage(rng, grid, rng.uniform(0.25, 0.6))
    behind = torch.exp(-((grid.angle / rng.uniform(0.5, 1.0)).square()))
    shape = shape * (1 - rng.uniform(0, 0.3) * behind)
    for _ in range(int(rng.integers(0, 3))):
        shape = shape - bump(rng, grid, (0.06, 0.25))
    return shape


def _cartilage(rng: np.random.Generator, grid: Grid, pitch: float) -> Float[Tensor, "rows cols"]:
    """Factor of rings at about this distance from each other, strongest on one side."""
    return rings(rng, grid, pitch, rng.uniform(0.02, 0.14), (0.2 * pitch, 0.35 * pitch), lobes=1)


def _nasal_radii(rng: np.random.Generator, grid: Grid) -> Float[Tensor, "rows cols"]:
    """A slit beside a septum, with ridges along one side: the turbinates."""
    shape = 1 + rng.uniform(0.05, 0.2) * closed_noise(rng, (8, 4), grid.shape, octaves=3)
    shape = shape * squeeze(rng, grid, rng.uniform(0.15, 0.45), 2)
    for _ in range(int(rng.integers(1, 4))):
        course = rng.uniform(-math.pi, math.pi) + rng.normal(0, 0.12) * grid.arc
        away = torch.remainder(grid.angle - course + math.pi, 2 * math.pi) - math.pi
        first, last = np.sort(rng.uniform(float(grid.arc[0]), float(grid.arc[-1]), 2))
        along = torch.sigmoid(4 * (grid.arc - first)) * torch.sigmoid(4 * (last - grid.arc))
        ridge = torch.exp(-((away / rng.uniform(0.25, 0.6)).square()).square())
        shape = shape - rng.uniform(0.2, 0.6) * along * ridge
    return shape


def _branches(
    rng: np.random.Generator, trunk: TubeChart, radius: float, end: float, material: Material
) -> tuple[Wall, ...]:
    """Two narrower tubes, or three, that leave the trunk near its end."""
    count = int(rng.choice([2, 3], p=[0.8, 0.2]))
    plane = rng.uniform(0, 2 * math.pi)
    fork, ahead = trunk.to_world(
        torch.tensor([[0.0, 0.0, (end - 0.7) * radius], [0, 0, end * radius]])
    )
    walls = []
    for k in range(count):
        bearing = plane + 2 * math.pi * k / count + rng.normal(0, 0.2)
        angle = math.radians(rng.uniform(18, 48))
        size = radius * rng.uniform(0.5, 0.85)
        half_length = rng.uniform(2.5, 5)
        own = TubeChart(
            half_length=size * half_length,
            curvature=float(rng.normal(1e-6, 0.06) / size),
            waves=(),
        )
        turn = torch.tensor([[math.cos(bearing) * angle, math.sin(bearing) * angle, 0.0]])
        T = _pose(fork, ahead)
        T[:3, :3] = T[:3, :3] @ rotation_from_axis_angle(turn.float())[0]
        start = own.to_world(torch.tensor([[0.0, 0.0, -size * (half_length - 1.2)]]))[0]
        next_to_it = own.to_world(torch.tensor([[0.0, 0.0, -size * (half_length - 1.3)]]))[0]
        placed = PlacedChart(own, T @ invert(_pose(start, next_to_it)[None])[0])
        walls.append(_branch(rng, placed, half_length, size, material))
    return tuple(walls)


def _branch(
    rng: np.random.Generator,
    chart: PlacedChart,
    half_length: float,
    radius: float,
    material: Material,
) -> Wall:
    grid = tube_grid(half_length, BRANCH_SHAPE)
    shape = 1 + rng.uniform(0, 0.08) * closed_noise(rng, (8, 4), grid.shape, octaves=2)
    shape = shape * _cartilage(rng, grid, rng.uniform(0.3, 0.7))
    shape = shape + roughness(rng, grid, rng.uniform(0.002, 0.02))
    shape = shape * closed_ends(grid, half_length * rng.uniform(0.3, 0.95), rng.uniform(0.4, 1.2))
    changes = gentle_change(rng, grid, 0.0)
    return tube_wall(chart, grid, radius, shape, changes, material)


def _pose(position: Float[Tensor, " 3"], target: Float[Tensor, " 3"]) -> Float[Tensor, "4 4"]:
    """At `position`, with the third axis towards `target`."""
    return look_at(position[None], target[None], torch.tensor([0.0, 1.0, 0.0]))[0]
