"""Winding tubes: their radius over arc length and angle, and flights through them.

Everything is in units of the tube's radius until a wall is made of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from endodav.synthetic.families.common import closed_noise
from endodav.synthetic.scene import Chart, Material, TubeChart, Wall, Wave, wall_layers
from endodav.synthetic.trajectory import Gaze, drift, steer, wander

TUBE_SHAPE = (512, 256)  # cells of a radius table along and around the tube


@dataclass(frozen=True)
class Grid:
    """Where the entries of a radius table lie.

    Attributes:
        arc: position along the tube, in radii.
        angle: around it.
        shape: cells along and around.
    """

    arc: Float[Tensor, "rows 1"]
    angle: Float[Tensor, "1 cols"]
    shape: tuple[int, int]


def tube_grid(half_length: float, shape: tuple[int, int] = TUBE_SHAPE) -> Grid:
    """The grid of a tube that reaches `half_length` radii to both sides."""
    arc = torch.linspace(-half_length, half_length, shape[0] + 1)[:, None]
    angle = torch.linspace(-math.pi, math.pi, shape[1] + 1)[None, :]
    return Grid(arc, angle, shape)


def tube_wall(
    chart: Chart,
    grid: Grid,
    radius: float,
    shape: Float[Tensor, "rows cols"],
    changes: Float[Tensor, "2 rows cols"],
    material: Material,
) -> Wall:
    """A wall of a radius table and its changes, both in radii."""
    rows, cols = shape.shape
    spacing = (
        radius * float(grid.arc[-1] - grid.arc[0]) / (rows - 1),
        2 * math.pi * radius / (cols - 1),
    )
    layers = wall_layers(radius * shape, radius * changes, spacing)
    return Wall(chart, layers, max(spacing), material)


def random_chart(rng: np.random.Generator, radius: float, half_length: float) -> TubeChart:
    """A winding, bent centre line; lengths in mm."""
    return TubeChart(
        half_length=half_length,
        curvature=float(rng.choice([-1, 1]) * min(abs(rng.normal(1e-6, 0.13)), 0.36) / radius),
        waves=tuple(
            (_wave(rng, radius, strength, fastest), _wave(rng, radius, strength, fastest))
            for strength, fastest in ((0.5, 0.4), (0.2, 0.9))
        ),
    )


def _wave(rng: np.random.Generator, radius: float, strength: float, fastest: float) -> Wave:
    """A winding of a tube, in units of its radius."""
    frequency = rng.uniform(0.15, fastest) / radius
    return Wave(rng.normal(0, strength) * radius, frequency, rng.uniform(0, 2 * math.pi))


def rings(
    rng: np.random.Generator,
    grid: Grid,
    pitch: float,
    depth: float,
    width: tuple[float, float],
    lobes: int,
) -> Float[Tensor, "rows cols"]:
    """Factor of folds that narrow the tube at uneven intervals, weaker between `lobes` places."""
    narrowing = torch.ones_like(grid.arc * grid.angle)
    position = float(grid.arc[0]) + pitch * rng.uniform()
    while position < float(grid.arc[-1]):
        slant = rng.normal(0, 0.15) * torch.cos(grid.angle + rng.uniform(0, 2 * math.pi))
        profile = torch.exp(-((grid.arc - position - slant) / rng.uniform(*width)).square())
        ring = 0.6 + 0.4 * torch.cos(lobes * grid.angle + rng.normal(0, 0.5))
        narrowing = narrowing * (1 - depth * rng.uniform(0.4, 1) * ring * profile)
        position += pitch * rng.uniform(0.6, 1.4)
    return narrowing


def bump(
    rng: np.random.Generator, grid: Grid, size: tuple[float, float]
) -> Float[Tensor, "rows cols"]:
    """The height of a rounded growth somewhere on the wall: a polyp."""
    extent = rng.uniform(*size)
    away = grid.angle - rng.uniform(-math.pi, math.pi)
    away = torch.remainder(away + math.pi, 2 * math.pi) - math.pi
    along = grid.arc - rng.uniform(float(grid.arc[0]), float(grid.arc[-1]))
    square = (away.square() + along.square()) / extent**2
    return extent * rng.uniform(0.4, 1.2) * torch.exp(-square.square())


def squeeze(
    rng: np.random.Generator, grid: Grid, strength: float, lobes: int
) -> Float[Tensor, "rows cols"]:
    """Factor that presses the cross-section towards a slit (2 lobes) or a star (3 and more).

    The direction turns slowly along the tube.
    """
    turn = rng.normal(0, 0.15) * grid.arc + rng.uniform(0, 2 * math.pi)
    return 1 + strength * torch.cos(lobes * grid.angle + turn)


def closed_ends(grid: Grid, end: float, cap: float) -> Float[Tensor, "rows 1"]:
    """Factor that rounds the tube off over `cap` at its beginning and at arc length `end`."""
    behind = ((float(grid.arc[0]) + cap - grid.arc) / cap).clamp(0, 1)
    ahead = ((grid.arc - end + cap) / cap).clamp(0, 1)
    return ((1 - behind.square()) * (1 - ahead.square())).sqrt()


def roughness(
    rng: np.random.Generator, grid: Grid, strength: float
) -> Float[Tensor, "rows_and_one cols_and_one"]:
    """Unevenness of the lining."""
    cells = (grid.shape[0] // 16, grid.shape[1] // 16)
    return strength * closed_noise(rng, cells, grid.shape, gain=0.6)


def gentle_change(
    rng: np.random.Generator, grid: Grid, strength: float
) -> Float[Tensor, "2 rows_and_one cols_and_one"]:
    """A smooth first change, and no second: what breathing does."""
    cells = (grid.shape[0] // 64, grid.shape[1] // 64)
    change = strength * closed_noise(rng, cells, grid.shape, octaves=2)
    return torch.stack([change, torch.zeros_like(change)])


def travelling_wave(
    rng: np.random.Generator, grid: Grid, strength: float
) -> Float[Tensor, "2 rows cols"]:
    """Two changes a quarter of a wavelength apart: what peristalsis does."""
    phase = (2 * math.pi / rng.uniform(2, 5) * grid.arc).expand(-1, grid.angle.shape[1])
    return strength * torch.stack([phase.cos(), phase.sin()])


@dataclass(frozen=True)
class Flight:
    """How a camera goes through a tube.

    Attributes:
        first: arc length in mm from which it may start.
        last: and to which.
        offset: most distance from the centre line, in radii.
        backward: how often it looks back.
        spread: of the angle between gaze and heading, in degrees.
    """

    first: float
    last: float
    offset: float
    backward: float
    spread: float


def fly_through(
    rng: np.random.Generator, frames: int, chart: TubeChart, radius: float, flight: Flight
) -> Float[Tensor, "time 4 4"]:
    """A camera path in the tube, between its axis and its wall."""
    middle = rng.uniform(flight.first, max(flight.first, flight.last))
    speed = radius * rng.normal(0, 0.03)
    arc = middle + drift(rng, frames, speed, 0.1 * radius, reach=0.7 * radius)
    aside, offset = rng.uniform(0, 2 * math.pi), flight.offset * rng.random() ** 0.7
    lateral = torch.tensor([math.cos(aside), math.sin(aside)]) * offset
    lateral = radius * (lateral + 0.06 * wander(rng, frames, 2))
    direction = -1.0 if rng.random() < flight.backward else 1.0
    ahead = arc[:, None] + direction * radius
    positions = chart.to_world(torch.cat([lateral, arc[:, None]], dim=1).float())
    targets = chart.to_world(torch.cat([lateral, ahead], dim=1).float())
    gaze = Gaze(abs(rng.normal(0, flight.spread)), rng.uniform(0, 5), rng.uniform(0, 8))
    return steer(rng, positions, targets, gaze)
