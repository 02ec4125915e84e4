"""The kinds of scene there are: a family is a function that draws one; `FAMILIES` lists them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from endodav.synthetic.appearance import TISSUES, linear, tissue
from endodav.synthetic.instruments import draw_instrument
from endodav.synthetic.noise import fractal_noise
from endodav.synthetic.render import axial_coordinates, length, march, wall_gap
from endodav.synthetic.scene import (
    Material,
    PlaneChart,
    RoundCone,
    Scene,
    TubeChart,
    Wall,
    Wave,
    close_seam,
    wall_layers,
)
from endodav.synthetic.trajectory import Gaze, breathing, drift, steer, wander

CLEARANCE = 0.15  # free space around the camera, relative to the size of the scene
ATTEMPTS = 200  # random cameras tried until one is clear of the wall


@dataclass(frozen=True)
class Family:
    """A kind of scene.

    Attributes:
        draw: from randomness and the number of frames to a scene.
        weight: how often it is drawn, relative to the others.
        field_of_view: range of the horizontal field of view in degrees.
    """

    draw: Callable[[np.random.Generator, int], Scene]
    weight: float
    field_of_view: tuple[float, float]


def draw_lumen(rng: np.random.Generator, frames: int) -> Scene:
    """A winding closed tube with folds and polyps: colon, oesophagus, bronchus, ureter."""
    radius = log_uniform(rng, 6, 22)
    chart = TubeChart(
        half_length=radius * rng.uniform(5, 8),
        curvature=float(rng.choice([-1, 1]) * min(abs(rng.normal(1e-6, 0.13)), 0.36) / radius),
        waves=tuple(
            (_wave(rng, radius, strength, fastest), _wave(rng, radius, strength, fastest))
            for strength, fastest in ((0.5, 0.4), (0.2, 0.9))
        ),
    )
    height, end = lumen_radius(rng, radius, chart.half_length)
    change = 0.06 * radius * float(rng.random() < 0.4) * close_seam(_noise(rng, (8, 4), octaves=2))
    rows, cols = height.shape
    spacing = (2 * chart.half_length / (rows - 1), 2 * math.pi * radius / (cols - 1))
    wall = Wall(
        chart,
        wall_layers(height, change, spacing),
        max(spacing),
        lining(rng, LUMEN_TISSUES, radius * rng.uniform(3, 6)),
    )
    deformation = breathing(rng, frames)
    for _ in range(ATTEMPTS):
        poses = _fly_through(rng, frames, chart, radius, end)
        if _is_clear(wall, (), deformation, poses, CLEARANCE * radius):
            break
    solids: tuple[RoundCone, ...] = ()
    if rng.random() < 0.15:  # a forceps out of the working channel beside the lens
        entry = torch.tensor([*rng.normal(0, 0.5, 2), -0.5]) * radius
        entry = entry + 0.2 * radius * F.normalize(entry, dim=0)
        thickness = float(radius * rng.uniform(0.04, 0.1))
        solids = draw_instrument(
            rng, poses, radius * rng.uniform(0.5, 1.2), thickness, entry.float()
        )
        if not _is_clear(wall, solids, deformation, poses, thickness):
            solids = ()
    return Scene(wall, solids, deformation, poses)


def _wave(rng: np.random.Generator, radius: float, strength: float, fastest: float) -> Wave:
    """A winding of a tube, in units of its radius."""
    frequency = rng.uniform(0.15, fastest) / radius
    return Wave(rng.normal(0, strength) * radius, frequency, rng.uniform(0, 2 * math.pi))


LUMEN_SHAPE = (512, 256)  # cells of the radius table along and around the tube
LUMEN_TISSUES = ("mucosa", "pale mucosa", "orange mucosa", "inflamed", "serosa", "fascia")


def lumen_radius(
    rng: np.random.Generator, radius: float, half_length: float
) -> tuple[Float[Tensor, "rows cols"], float]:
    """The radius of a tube over (arc length, angle) in mm, and the arc length at which it ends."""
    arc = torch.linspace(-half_length, half_length, LUMEN_SHAPE[0] + 1)[:, None] / radius
    angle = torch.linspace(-math.pi, math.pi, LUMEN_SHAPE[1] + 1)[None, :]
    shape = 1 + rng.uniform(0, 0.16) * close_seam(_noise(rng, (8, 4), octaves=2))
    squeeze = rng.uniform(-0.25, 0.25)  # towards a slit
    shape = shape * (1 + squeeze * torch.cos(2 * angle + rng.uniform(0, 2 * math.pi)))
    shape = shape * _folds(rng, arc, angle)
    for _ in range(int(rng.integers(0, 5))):
        shape = shape - _polyp(rng, arc, angle)
    rough = close_seam(_noise(rng, (32, 16), gain=0.6))
    shape = shape.clamp_min(0.25) + rng.uniform(0.002, 0.02) * rough
    end = half_length / radius * rng.uniform(0.2, 0.98)
    cap = rng.uniform(0.3, 1.5)
    behind = ((-half_length / radius + cap - arc) / cap).clamp(0, 1)
    ahead = ((arc - end + cap) / cap).clamp(0, 1)
    shape = shape * ((1 - behind.square()) * (1 - ahead.square())).sqrt()
    return radius * shape, radius * end


def _folds(rng: np.random.Generator, arc: Tensor, angle: Tensor) -> Tensor:
    """Haustral folds: rings, uneven at the taeniae, that narrow the tube to a share of itself."""
    narrowing = torch.ones_like(arc * angle)
    if rng.random() < 0.2:
        return narrowing
    pitch, depth, taeniae = rng.uniform(0.6, 1.8), rng.uniform(0.1, 0.6), int(rng.integers(2, 4))
    position = float(arc[0]) + pitch * rng.uniform()
    while position < float(arc[-1]):
        slant = rng.normal(0, 0.15) * torch.cos(angle + rng.uniform(0, 2 * math.pi))
        width = rng.uniform(0.06, 0.25)
        profile = torch.exp(-((arc - position - slant) / width).square())
        ring = 0.6 + 0.4 * torch.cos(taeniae * angle + rng.normal(0, 0.5))
        narrowing = narrowing * (1 - depth * rng.uniform(0.4, 1) * ring * profile)
        position += pitch * rng.uniform(0.6, 1.4)
    return narrowing


def _polyp(rng: np.random.Generator, arc: Tensor, angle: Tensor) -> Tensor:
    """A rounded bump on the wall, in units of the tube's radius."""
    size = rng.uniform(0.06, 0.3)
    away = torch.remainder(angle - rng.uniform(-math.pi, math.pi) + math.pi, 2 * math.pi) - math.pi
    along = arc - rng.uniform(float(arc[0]), float(arc[-1]))
    square = (away.square() + along.square()) / size**2
    return size * rng.uniform(0.4, 1.2) * torch.exp(-square.square())


def _fly_through(
    rng: np.random.Generator, frames: int, chart: TubeChart, radius: float, end: float
) -> Float[Tensor, "time 4 4"]:
    """A camera path in the tube, between its axis and its wall, looking mostly along it."""
    to_end = radius * float(rng.choice([0.5, 2.5], p=[0.2, 0.8]))
    middle = rng.uniform(-0.6 * chart.half_length, end - to_end)
    speed = radius * rng.normal(0, 0.03)
    arc = middle + drift(rng, frames, speed, 0.1 * radius)
    aside, offset = rng.uniform(0, 2 * math.pi), 0.75 * rng.random() ** 0.7
    lateral = torch.tensor([math.cos(aside), math.sin(aside)]) * offset
    lateral = radius * (lateral + 0.06 * wander(rng, frames, 2))
    direction = float(rng.choice([1, -1], p=[0.9, 0.1]))
    ahead = arc[:, None] + direction * radius
    positions = chart.to_world(torch.cat([lateral, arc[:, None]], dim=1))
    targets = chart.to_world(torch.cat([lateral, ahead], dim=1))
    spread = float(rng.choice([10, 30, 60], p=[0.5, 0.3, 0.2]))
    gaze = Gaze(abs(rng.normal(0, spread)), rng.uniform(0, 5), rng.uniform(0, 8))
    return steer(rng, positions, targets, gaze)


def draw_cavity(rng: np.random.Generator, frames: int) -> Scene:
    """A wide cavity seen from above or obliquely: organs that overlap, tools in front of them."""
    depth = log_uniform(rng, 20, 100)
    chart = PlaneChart(depth * rng.uniform(1.5, 2.2))
    height, albedo = landscape(rng, depth, chart.half_size)
    change = (
        0.02
        * depth
        * float(rng.random() < 0.4)
        * close_seam(_noise(rng, (4, 4), CAVITY_SHAPE, octaves=2))
    )
    spacing = 2 * chart.half_size / (height.shape[0] - 1)
    patches = torch.tensor(np.exp(rng.normal(0, 0.2) + rng.normal(0, 0.1, 3))).float()
    material = tissue(rng, albedo, patches, depth * rng.uniform(0.8, 1.6))
    wall = Wall(chart, wall_layers(height, change, (spacing, spacing)), spacing, material)
    deformation = breathing(rng, frames)
    for attempt in range(ATTEMPTS):
        poses = _hover(rng, frames, depth, retreat=attempt / ATTEMPTS)
        if _is_clear(wall, (), deformation, poses, CLEARANCE * depth):
            break
    solids = _loose_organs(rng, frames, depth, height, chart.half_size)
    if not _is_clear(wall, solids, deformation, poses, CLEARANCE * depth):
        solids = ()
    for _ in range(int(rng.choice([0, 1, 2], p=[0.25, 0.45, 0.3]))):
        tool = _trocar_instrument(rng, wall, poses, depth)
        if _is_clear(wall, tool, deformation, poses, CLEARANCE * depth):
            solids += tool
    return Scene(wall, solids, deformation, poses)


def _trocar_instrument(
    rng: np.random.Generator, wall: Wall, poses: Float[Tensor, "time 4 4"], depth: float
) -> tuple[RoundCone, ...]:
    """A tool that enters beside the camera and ends a little above what the camera looks at."""
    T = poses[0]
    at_rest = torch.zeros(1, dtype=torch.long)
    gap = wall_gap(Scene(wall, (), torch.zeros(1), poses[:1]), at_rest)
    view = float(march(gap, T[:3, 3:].contiguous(), T[:3, 2:3].contiguous()).clamp_max(3 * depth))
    bearing = rng.uniform(0, 2 * math.pi)
    entry = torch.tensor([math.cos(bearing), math.sin(bearing), rng.uniform(-0.3, 0.4)])
    entry = (entry * view * rng.uniform(0.7, 1.1)).float()
    radius, reach = view * rng.uniform(0.03, 0.1), view * rng.uniform(0.45, 0.95)
    return draw_instrument(rng, T.expand(len(poses), 4, 4), reach, radius, entry)


CAVITY_SHAPE = (512, 512)  # cells of the height map; its texture has as many
CAVITY_TISSUES = tuple(TISSUES)


def landscape(
    rng: np.random.Generator, depth: float, half_size: float
) -> tuple[Float[Tensor, "rows cols"], Float[Tensor, "3 rows_texture cols_texture"]]:
    """The height map of a cavity in mm (small is near) and the albedo of the organs in it.

    A tilted bowl is the background; domes with bent outlines overlap on it, each of its own tissue.
    """
    axis = torch.linspace(-1, 1, CAVITY_SHAPE[0] + 1)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    bend = rng.uniform(0.02, 0.12)
    x_bent = x + bend * close_seam(_noise(rng, (4, 4), CAVITY_SHAPE, octaves=3))
    y_bent = y + bend * close_seam(_noise(rng, (4, 4), CAVITY_SHAPE, octaves=3))
    tilt = rng.normal(0, 0.35, 2)
    rim = torch.hypot(x, y).clamp_max(1).pow(rng.uniform(2.5, 6))
    height = depth * (1 + tilt[0] * x + tilt[1] * y) - 1.6 * depth * rim
    albedo = _tone(rng, CAVITY_TISSUES).expand(3, *CAVITY_SHAPE)
    for _ in range(int(rng.integers(1, 9))):
        long, short = rng.uniform(0.2, 0.7), rng.uniform(0.12, 0.35)
        turn, (cx, cy) = rng.uniform(0, math.pi), rng.uniform(-0.6, 0.6, 2)
        across = (x_bent - cx) * math.cos(turn) + (y_bent - cy) * math.sin(turn)
        along = (y_bent - cy) * math.cos(turn) - (x_bent - cx) * math.sin(turn)
        square = (across / short).square() + (along / long).square()
        base = depth * (1 + tilt[0] * cx + tilt[1] * cy) + 0.1 * depth
        dome = base - half_size * short * rng.uniform(0.6, 1.6) * (1 - square).clamp_min(0).sqrt()
        inside = (square < 1) & (dome < height)
        height = torch.where(inside, dome, height)
        albedo = torch.where(inside[:-1, :-1], _tone(rng, CAVITY_TISSUES), albedo)
    height = _soften(height, int(rng.integers(1, 4)))
    ridges = 1 - close_seam(_noise(rng, (4, 4), CAVITY_SHAPE, octaves=4)).abs()
    height = height - depth * rng.uniform(0, 0.06) * ridges
    rough = close_seam(_noise(rng, (16, 16), CAVITY_SHAPE, gain=0.6))
    return height + depth * rng.uniform(0.001, 0.01) * rough, _soften(albedo, 1)


def _soften(field: Tensor, radius: int) -> Tensor:
    """A small box blur: tissue has no knife edges."""
    channels = field if field.ndim == 3 else field[None]
    padded = F.pad(channels[None], (radius,) * 4, mode="replicate")
    return F.avg_pool2d(padded, 2 * radius + 1, 1)[0].reshape(field.shape)


def _loose_organs(
    rng: np.random.Generator, frames: int, depth: float, height: Tensor, half_size: float
) -> tuple[RoundCone, ...]:
    """At times a long soft organ lies on the others, such as a gallbladder or a loop of bowel."""
    if rng.random() < 0.6:
        return ()
    thick = depth * rng.uniform(0.08, 0.25)
    ends = []
    for _ in range(2):
        x, y = rng.uniform(-0.5, 0.5, 2)
        row, col = (int((c + 1) / 2 * (len(height) - 1)) for c in (y, x))
        z = float(height[row, col]) + thick * rng.uniform(-0.7, 0.5)
        ends.append(torch.tensor([x * half_size, y * half_size, z], dtype=torch.float32))
    sway = 0.02 * depth * wander(rng, frames, 3)
    material = lining(rng, CAVITY_TISSUES, depth * rng.uniform(0.8, 1.6))
    radii = (thick, thick * rng.uniform(0.4, 1))
    return (RoundCone(ends[0].expand(frames, 3), ends[1] + sway, radii, material),)


def _hover(
    rng: np.random.Generator, frames: int, depth: float, retreat: float
) -> Float[Tensor, "time 4 4"]:
    """A camera over the landscape, turned and pushed as if through a trocar."""
    start = torch.tensor([*rng.normal(0, 0.35, 2), rng.uniform(-0.3, 0.5) - retreat]) * depth
    travel = torch.tensor(rng.normal(0, [0.01, 0.01, 0.01])) * depth
    time = torch.arange(frames)[:, None] - (frames - 1) / 2
    positions = start + travel * time + 0.03 * depth * wander(rng, frames, 3)
    aim = torch.tensor([*rng.normal(0, 0.4, 2), 1.0]) * depth
    targets = aim + 0.08 * depth * wander(rng, frames, 3)
    gaze = Gaze(abs(rng.normal(0, 12)), rng.uniform(0, 3), rng.uniform(0, 6))
    return steer(rng, positions.float(), targets.float(), gaze)


def _is_clear(
    wall: Wall,
    solids: tuple[RoundCone, ...],
    deformation: Float[Tensor, " time"],
    poses: Float[Tensor, "time 4 4"],
    margin: float,
) -> bool:
    """Whether the camera keeps at least about `margin` mm away from everything in all frames."""
    centres = poses[:, :3, 3].T.contiguous()
    frames = torch.arange(len(poses))
    clear = bool((wall.gap(centres, deformation)[1] > margin).all())
    for cone in solids:
        _, radius, offset = axial_coordinates(cone, centres, frames)
        clear &= bool((length(offset) > radius + margin).all())
    return clear


def lining(rng: np.random.Generator, tissues: tuple[str, ...], tile: float) -> Material:
    """A tissue of one colour all over, with patches of another."""
    base, other = _tone(rng, tissues), _tone(rng, tissues)
    return tissue(rng, base, (other / base)[:, 0, 0].clamp(0.3, 2), tile)


def _tone(rng: np.random.Generator, tissues: tuple[str, ...]) -> Float[Tensor, "3 1 1"]:
    """One of the tissues' colours, a little changed."""
    tint = torch.tensor(np.exp(rng.normal(0, 0.07, 3) + rng.normal(0, 0.1))).float()
    return linear(TISSUES[str(rng.choice(tissues))]) * tint[:, None, None]


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A random number whose order of magnitude is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _noise(
    rng: np.random.Generator,
    cells: tuple[int, int],
    shape: tuple[int, int] = LUMEN_SHAPE,
    octaves: int = 20,
    gain: float = 0.5,
) -> Float[Tensor, "rows cols"]:
    return fractal_noise(rng, shape, cells, octaves, gain)


FAMILIES: Mapping[str, Family] = {
    "lumen": Family(draw_lumen, 0.5, (65, 120)),
    "cavity": Family(draw_cavity, 0.5, (40, 85)),
}
