"""A wide cavity seen from above or obliquely: organs that overlap, bands and tools before them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from endodav.synthetic.appearance import TISSUES, tissue
from endodav.synthetic.families.common import (
    ATTEMPTS,
    CLEARANCE,
    clearance,
    closed_noise,
    find_clear,
    lining,
    log_uniform,
    tone,
)
from endodav.synthetic.instruments import draw_instrument
from endodav.synthetic.render import march, wall_gap
from endodav.synthetic.scene import PlaneChart, RoundCone, Scene, Wall, wall_layers
from endodav.synthetic.trajectory import Gaze, breathing, drift, pulling, steer, wander

CAVITY_SHAPE = (512, 512)  # cells of the height map; its texture has as many
CAVITY_TISSUES = tuple(TISSUES)
TOOLS = {0: 0.25, 1: 0.45, 2: 0.3}  # how many, with weights


def draw_laparoscopy(rng: np.random.Generator, frames: int) -> Scene:
    """A scene of this family."""
    depth = log_uniform(rng, 18, 110)
    chart = PlaneChart(depth * rng.uniform(1.5, 2.2))
    height, albedo = landscape(rng, depth, chart.half_size)
    pulled = rng.random() < 0.3
    changes = _changes(rng, depth, pulled)
    deformation = pulling(rng, frames) if pulled else breathing(rng, frames)
    spacing = 2 * chart.half_size / (height.shape[0] - 1)
    patches = torch.tensor(np.exp(rng.normal(0, 0.2) + rng.normal(0, 0.1, 3))).float()
    material = tissue(rng, albedo, patches, depth * rng.uniform(0.8, 1.6))
    wall = Wall(chart, wall_layers(height, changes, (spacing, spacing)), spacing, material)

    def draw(attempt: int) -> Scene:
        poses = _hover(rng, frames, depth, retreat=attempt / ATTEMPTS)
        return Scene((wall,), (), deformation, poses)

    scene = find_clear(draw, CLEARANCE * depth)
    solids = _loose_organs(rng, frames, depth, height, chart.half_size)
    solids += _bands(rng, frames, depth, height, chart.half_size)
    for _ in range(int(rng.choice(list(TOOLS), p=list(TOOLS.values())))):
        solids += _trocar_instrument(rng, scene, depth)
    for solid in solids:
        fuller = replace(scene, solids=(*scene.solids, solid))
        scene = fuller if clearance(fuller) > 0.7 * CLEARANCE * depth else scene
    return scene


def _changes(
    rng: np.random.Generator, depth: float, pulled: bool
) -> Float[Tensor, "2 rows_and_one cols_and_one"]:
    """Breathing moves everything a little; pulling draws one place towards the camera."""
    breath = 0.02 * depth * float(rng.random() < 0.4) * closed_noise(rng, (4, 4), CAVITY_SHAPE, 2)
    axis = torch.linspace(-1, 1, CAVITY_SHAPE[0] + 1)
    x, y = rng.uniform(-0.4, 0.4, 2)
    square = (axis[None, :] - x).square() + (axis[:, None] - y).square()
    tent = torch.exp(-(square / rng.uniform(0.1, 0.35) ** 2).clamp_min(1e-6).pow(0.7))
    return torch.stack([breath, -float(pulled) * depth * rng.uniform(0.05, 0.25) * tent])


def _trocar_instrument(
    rng: np.random.Generator, scene: Scene, depth: float
) -> tuple[RoundCone, ...]:
    """A tool that enters beside the camera and ends a little above what the camera looks at."""
    poses = scene.T_world_from_camera
    T = poses[0]
    gap = wall_gap(scene, torch.zeros(1, dtype=torch.long))
    view = float(march(gap, T[:3, 3:].contiguous(), T[:3, 2:3].contiguous()).clamp_max(3 * depth))
    bearing = rng.uniform(0, 2 * math.pi)
    entry = torch.tensor([math.cos(bearing), math.sin(bearing), rng.uniform(-0.3, 0.4)])
    entry = (entry * view * rng.uniform(0.7, 1.1)).float()
    radius, reach = view * log_uniform(rng, 0.015, 0.1), view * rng.uniform(0.45, 0.95)
    return draw_instrument(rng, T.expand(len(poses), 4, 4), reach, radius, entry)


def landscape(
    rng: np.random.Generator, depth: float, half_size: float
) -> tuple[Float[Tensor, "rows cols"], Float[Tensor, "3 rows_texture cols_texture"]]:
    """The height map of a cavity in mm (small is near) and the albedo of the organs in it.

    A tilted bowl is the background; domes with bent outlines overlap on it, each of its own tissue.
    """
    axis = torch.linspace(-1, 1, CAVITY_SHAPE[0] + 1)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    bend = rng.uniform(0.02, 0.12)
    x_bent = x + bend * closed_noise(rng, (4, 4), CAVITY_SHAPE, octaves=3)
    y_bent = y + bend * closed_noise(rng, (4, 4), CAVITY_SHAPE, octaves=3)
    tilt = rng.normal(0, 0.35, 2)
    rim = torch.hypot(x, y).clamp_max(1).pow(rng.uniform(2.5, 6))
    height = depth * (1 + tilt[0] * x + tilt[1] * y) - 1.6 * depth * rim
    albedo = tone(rng, CAVITY_TISSUES).expand(3, *CAVITY_SHAPE)
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
        albedo = torch.where(inside[:-1, :-1], tone(rng, CAVITY_TISSUES), albedo)
    height = height - depth * _lobules(rng)
    height = _soften(height, int(rng.integers(1, 4)))
    ridges = 1 - closed_noise(rng, (4, 4), CAVITY_SHAPE, octaves=4).abs()
    height = height - depth * rng.uniform(0, 0.06) * ridges
    rough = closed_noise(rng, (16, 16), CAVITY_SHAPE, gain=0.6)
    return height + depth * rng.uniform(0.001, 0.01) * rough, _soften(albedo, 1)


def _lobules(rng: np.random.Generator) -> Float[Tensor, "rows_and_one cols_and_one"]:
    """Bulges of fat, where there is any: the round summits of a coarse field."""
    cells = int(rng.choice([8, 16, 32]))
    field = closed_noise(rng, (cells, cells), CAVITY_SHAPE, octaves=2)
    presence = closed_noise(rng, (4, 4), CAVITY_SHAPE, octaves=2).sub(rng.uniform(-0.2, 1.5))
    size = float(rng.uniform(0.05, 0.25)) / cells**0.5
    bulges: Tensor = size * field.abs().sqrt() * presence.clamp(0, 1)
    return bulges


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
    ends = [_place(rng, height, half_size, -thick * rng.uniform(-0.7, 0.5)) for _ in range(2)]
    sway = 0.02 * depth * wander(rng, frames, 3)
    material = lining(rng, CAVITY_TISSUES, depth * rng.uniform(0.8, 1.6))
    radii = (thick, thick * rng.uniform(0.4, 1))
    return (RoundCone(ends[0].expand(frames, 3), ends[1] + sway, radii, material),)


def _bands(
    rng: np.random.Generator, frames: int, depth: float, height: Tensor, half_size: float
) -> tuple[RoundCone, ...]:
    """At times ligaments, ducts or adhesions span from one organ to another."""
    if rng.random() < 0.65:
        return ()
    material = lining(rng, ("fascia", "fat", "serosa", "inflamed"), depth * rng.uniform(0.3, 1))
    bands = []
    for _ in range(int(rng.integers(1, 4))):
        thick = depth * log_uniform(rng, 0.008, 0.05)
        start, end = (_place(rng, height, half_size, 0.0) for _ in range(2))
        sway = 0.01 * depth * wander(rng, frames, 3)
        bands.append(RoundCone(start + sway, end.expand(frames, 3), (thick, thick * 0.7), material))
    return tuple(bands)


def _place(
    rng: np.random.Generator, height: Tensor, half_size: float, above: float
) -> Float[Tensor, " 3"]:
    """A random point so far above the landscape, in mm."""
    x, y = rng.uniform(-0.5, 0.5, 2)
    row, col = (int((c + 1) / 2 * (len(height) - 1)) for c in (y, x))
    z = float(height[row, col]) - above
    return torch.tensor([x * half_size, y * half_size, z], dtype=torch.float32)


def _hover(
    rng: np.random.Generator, frames: int, depth: float, retreat: float
) -> Float[Tensor, "time 4 4"]:
    """A camera over the landscape, turned and pushed as if through a trocar."""
    start = torch.tensor([*rng.normal(0, 0.35, 2), rng.uniform(-0.3, 0.5) - retreat]) * depth
    course = F.normalize(torch.tensor(rng.normal(0, 1, 3)).float(), dim=0)
    speed = depth * abs(rng.normal(0, 0.017))
    travel = drift(rng, frames, speed, 0.0, reach=0.25 * depth)
    positions = start + course * travel[:, None] + 0.03 * depth * wander(rng, frames, 3)
    aim = torch.tensor([*rng.normal(0, 0.4, 2), 1.0]) * depth
    targets = aim + 0.08 * depth * wander(rng, frames, 3)
    gaze = Gaze(abs(rng.normal(0, 12)), rng.uniform(0, 3), rng.uniform(0, 6))
    return steer(rng, positions.float(), targets.float(), gaze)
