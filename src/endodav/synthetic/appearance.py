"""What tissue and instruments look like: textures drawn once a scene, and light at the tip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from endodav.synthetic import texture
from endodav.synthetic.noise import fractal_noise
from endodav.synthetic.optics import Smoke, random_smoke
from endodav.synthetic.render import (
    Hits,
    axial_coordinates,
    carrier,
    cone_gap,
    normals,
    unit,
    wall_gap,
)
from endodav.synthetic.scene import Material, Scene, close_seam, sample_table

GAMMA = 2.2

Colour = tuple[float, float, float]

TISSUES: Mapping[str, Colour] = {  # sRGB under white light, as one would pick them from a picture
    "mucosa": (0.86, 0.52, 0.47),
    "pale mucosa": (0.93, 0.68, 0.58),
    "orange mucosa": (0.90, 0.58, 0.38),
    "inflamed": (0.80, 0.30, 0.28),
    "liver": (0.42, 0.14, 0.14),
    "gallbladder": (0.86, 0.74, 0.52),
    "fat": (0.88, 0.66, 0.34),
    "serosa": (0.83, 0.56, 0.60),
    "peritoneum": (0.84, 0.48, 0.34),
    "mesentery": (0.72, 0.48, 0.62),
    "fascia": (0.90, 0.84, 0.82),
}
VESSEL_FACTOR = (0.6, 0.2, 0.25)  # what a vessel lets through of the light of the tissue around it
STAINS: Mapping[str, tuple[Colour, float]] = {  # linear factor on the tissue, how often
    "blood": ((0.35, 0.04, 0.04), 0.6),
    "bile": ((0.75, 0.55, 0.15), 0.2),
    "mucus": ((1.3, 1.5, 1.4), 0.2),
}
BLEED = (1.0, 0.45, 0.35)  # red light travels farthest under the skin
INSTRUMENT_TILE = 10.0  # mm
TIP = 0.6  # of the free space around the lens: how far off the lens a light can be
TRIPLANAR_SHARPNESS = 4  # exponent on the normal that weighs the three projections of the detail

INSTRUMENTS: Mapping[str, Colour] = {
    "steel": (0.62, 0.62, 0.64),
    "plastic": (0.62, 0.69, 0.76),
    "black": (0.10, 0.10, 0.11),
    "white": (0.80, 0.80, 0.80),
}


@dataclass(frozen=True)
class Illumination:
    """Point lights beside the lens, the air they shine through, and what the cavity throws back.

    Attributes:
        positions: of the lights in the camera frame in mm.
        aims: direction of each light's beam in the camera frame, unit length.
        strengths: of the lights, relative to each other; their mean is 1.
        colour: linear RGB of the light.
        beam: exponent of the cosine with which a light weakens away from its beam's direction.
        wrap: share of light that scatters under the skin and reaches slopes turned away (half-
            Lambert), in red; less in green and blue.
        ambient: light from everywhere, relative to the median direct light of a frame.
        smoke: in the air, None if it is clear.
    """

    positions: Float[Tensor, "lights 3"]
    aims: Float[Tensor, "lights 3"]
    strengths: Float[Tensor, " lights"]
    colour: Float[Tensor, " 3"]
    beam: float
    wrap: float
    ambient: float
    smoke: Smoke | None


def linear(colour: Colour) -> Float[Tensor, "3 1 1"]:
    """An sRGB colour as linear albedo, ready to multiply a texture."""
    return torch.tensor(colour).pow(GAMMA)[:, None, None]


def random_illumination(rng: np.random.Generator, room: float) -> Illumination:
    """One to three lights a few millimetres off the lens, white or tinted, harsh or soft.

    Args:
        rng: source of randomness.
        room: free space around the lens in mm. Lens and lights sit in one tip, so where it is
            narrow they sit closer together; a light inside the wall would leave what is near dark.
    """
    count = int(rng.choice([1, 2, 3], p=[0.45, 0.45, 0.1]))
    offset = np.exp(rng.uniform(np.log(1), np.log(7)))
    positions = np.concatenate([rng.normal(0, offset, (count, 2)), np.zeros((count, 1))], axis=1)
    farthest = np.linalg.norm(positions, axis=1).max()
    positions *= min(1.0, TIP * max(room, 0.0) / farthest)
    aims = np.concatenate([rng.normal(0, 0.12, (count, 2)), np.ones((count, 1))], axis=1)
    strengths = np.exp(rng.normal(0, 0.5, count))
    tint = np.exp(rng.normal((0.03, 0, -0.03), 0.08))
    return Illumination(
        torch.tensor(positions, dtype=torch.float32),
        torch.tensor(aims / np.linalg.norm(aims, axis=1, keepdims=True), dtype=torch.float32),
        torch.tensor(strengths / strengths.mean(), dtype=torch.float32),
        torch.tensor(tint, dtype=torch.float32),
        beam=float(rng.uniform(0, 2)),
        wrap=float(rng.uniform(0, 0.35)),
        ambient=float(np.exp(rng.uniform(np.log(0.01), np.log(0.2)))),
        smoke=random_smoke(rng) if rng.random() < 0.08 else None,
    )


def tissue(
    rng: np.random.Generator,
    albedo: Float[Tensor, "3 rows cols"],
    other: Float[Tensor, " 3"],
    tile: float,
) -> Material:
    """Cover a base colour with patches, mottling, vessels, texture, stains and a wet film.

    Args:
        rng: source of randomness.
        albedo: linear base colour over the surface's (v, u).
        other: colour of the patches, relative to the base.
        tile: size in mm at which the detail repeats.
    """
    shape = texture.SHAPE
    border = fractal_noise(rng, shape, (4, 4), octaves=5)
    share = torch.sigmoid(rng.uniform(0.5, 5) * (border + rng.normal(0, 1.5)))
    factor = torch.lerp(torch.ones(3, 1, 1), other[:, None, None], share)
    mottle = fractal_noise(rng, shape, (8, 8), gain=rng.uniform(0.5, 0.85))
    redness = fractal_noise(rng, shape, (8, 8), octaves=3).clamp_min(0) * rng.uniform(0, 0.2)
    grain, bumps = _grain(rng)
    tone = rng.uniform(0.03, 0.25) * mottle + grain
    factor = factor * torch.stack([tone + redness, tone - redness, tone - redness]).exp()
    factor = _tinted(factor, VESSEL_FACTOR, _vessels(rng))
    film = fractal_noise(rng, shape, (8, 8), octaves=5, gain=rng.uniform(0.5, 0.85))
    shifts = ((0, 0), (shape[0] // 3, shape[1] // 2), (shape[0] // 2, 0))
    tilt = torch.stack([film.roll(shift, (0, 1)) for shift in shifts]) * rng.uniform(0.03, 0.3)
    tilt = tilt + bumps
    if rng.random() < 0.25:  # pools lie smooth, so they shine in larger spots
        name = str(rng.choice(list(STAINS), p=[often for _, often in STAINS.values()]))
        pool = texture.stains(rng) * rng.uniform(0.5, 1)
        factor = _tinted(factor, STAINS[name][0], pool)
        tilt = tilt * (1 - 0.8 * pool)
    if rng.random() < 0.12:
        tilt[:2] += texture.bubbles(rng)
    return Material(
        albedo,
        close_seam(torch.cat([factor, tilt])),
        tile,
        specular=float(rng.choice([0.0, 1.0], p=[0.12, 0.88]) * np.exp(rng.uniform(-2.3, 1.6))),
        shininess=float(np.exp(rng.uniform(np.log(60), np.log(800)))),
    )


def _tinted(factor: Tensor, colour: Colour, share: Tensor) -> Float[Tensor, "3 rows cols"]:
    """The factor, multiplied by a colour where its share is 1."""
    return factor * torch.lerp(torch.ones(3, 1, 1), torch.tensor(colour)[:, None, None], share)


def _vessels(rng: np.random.Generator) -> Float[Tensor, "rows cols"]:
    """Webs and trees of vessels, 0 to 1, that show in some places and hide in others."""
    lines = torch.maximum(texture.capillaries(rng, 8), texture.capillaries(rng, 32))
    if rng.random() < 0.4:
        trees = texture.vessel_trees(rng)
        lines = torch.maximum(trees, lines * rng.uniform(0, 0.5))
    presence = fractal_noise(rng, texture.SHAPE, (8, 8), octaves=3)
    return lines * (presence + rng.uniform(-1.5, 0.8)).clamp(0, 1) * rng.uniform(0.2, 0.9)


def _grain(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The tissue's own fine structure: log albedo [rows, cols] and tilt of the film [3, ...]."""
    patterns = ("none", "pits", "lobules", "fibres")
    match str(rng.choice(patterns, p=[0.45, 0.2, 0.15, 0.2])):
        case "pits":
            height = -texture.pits(rng)
        case "lobules":
            height = 2 * texture.lobules(rng) - 1
        case "fibres":
            height = texture.fibres(rng) * 0.5
        case _:
            return torch.zeros(texture.SHAPE), torch.zeros(3, *texture.SHAPE)
    relief = rng.uniform(0, 1)
    tilt = [height - height.roll(2, 0), height - height.roll(2, 1), torch.zeros(texture.SHAPE)]
    return rng.uniform(0.05, 0.4) * height, relief * torch.stack(tilt)


def instrument(rng: np.random.Generator, name: str, metallic: bool) -> Material:
    """A grey shaft or jaw with rings around it; v runs along the axis."""
    shape = (128, 32)
    albedo = linear(INSTRUMENTS[name]).expand(3, *shape) * rng.uniform(0.4, 1.1)
    along = torch.linspace(0, 1, shape[0])[None, :, None]
    for _ in range(int(rng.integers(0, 5))):
        centre, width = rng.uniform(0.3, 1), rng.uniform(0.005, 0.05)
        ring = ((along - centre).abs() < width).float()
        albedo = albedo * (1 - ring * rng.uniform(0.2, 0.8))
    scratches = fractal_noise(rng, (64, 64), (8, 8), gain=0.8)
    wear = torch.exp(0.05 * scratches).expand(3, 64, 64)
    return Material(
        albedo,
        close_seam(torch.cat([wear, 0.03 * scratches.expand(3, 64, 64)])),
        INSTRUMENT_TILE,
        specular=float(rng.uniform(0.8, 2.5) if metallic else rng.uniform(0.1, 0.5)),
        shininess=float(rng.uniform(10, 60)),
    )


@dataclass(frozen=True)
class Surface:
    """The visible surface at a set of points: its orientation and what it is made of."""

    normal: Float[Tensor, "3 rays"]
    film_normal: Float[Tensor, "3 rays"]
    albedo: Float[Tensor, "3 rays"]
    specular: Float[Tensor, " rays"]
    shininess: Float[Tensor, " rays"]


def surface_at(
    scene: Scene, points: Float[Tensor, "3 rays"], hits: Hits, frames: Int[Tensor, " rays"]
) -> Surface:
    """Normal and material of the surface that each ray met at `points`."""
    width = max(wall.spacing for wall in scene.walls)
    normal = normals(wall_gap(scene, frames), points, torch.full_like(hits.distance, width))
    u, v, _ = scene.walls[0].chart.to_chart(points)
    surface = _coat(scene.walls[0].material, normal, points, u, v)
    on_wall = carrier(scene, points, frames) if len(scene.walls) > 1 else torch.zeros_like(frames)
    for index, wall in enumerate(scene.walls[1:], start=1):
        on = (on_wall == index).nonzero()[:, 0]
        u, v, _ = wall.chart.to_chart(points[:, on])
        _replace(surface, on, _coat(wall.material, normal[:, on], points[:, on], u, v))
    for index, cone in enumerate(scene.solids):
        on = (hits.solid == index).nonzero()[:, 0]
        along, radius, offset = axial_coordinates(cone, points[:, on], frames[on])
        normal = normals(cone_gap(cone, frames[on]), points[:, on], 0.05 * radius)
        around = torch.atan2(offset[0], offset[1]) / torch.pi
        _replace(surface, on, _coat(cone.material, normal, points[:, on], around, 2 * along - 1))
    return surface


def _replace(surface: Surface, on: Tensor, part: Surface) -> None:
    """Put a part in the place of some points of a surface."""
    for field in fields(Surface):
        getattr(surface, field.name)[..., on] = getattr(part, field.name)


def _coat(material: Material, normal: Tensor, points: Tensor, u: Tensor, v: Tensor) -> Surface:
    """The material where the surface's own coordinates are (u, v)."""
    detail = _triplanar(material, points, normal)
    return Surface(
        normal=normal,
        film_normal=unit(normal + detail[3:]),
        albedo=(sample_table(material.albedo, u, v) * detail[:3]).clamp(0.003, 0.95),
        specular=torch.full_like(u, material.specular),
        shininess=torch.full_like(u, material.shininess),
    )


def _triplanar(
    material: Material, points: Float[Tensor, "3 rays"], normal: Float[Tensor, "3 rays"]
) -> Float[Tensor, "6 rays"]:
    """The detail tile seen along x, y and z, weighted by how squarely the surface faces each axis.

    Unlike a look-up over the wall's chart it is neither stretched on slopes nor pinched at a tube's
    end.
    """
    weights = normal.abs().pow(TRIPLANAR_SHARPNESS)
    weights = weights / weights.sum(0)
    places = 2 * torch.remainder(points / material.tile, 1) - 1
    projections = [sample_table(material.detail, places[k - 2], places[k - 1]) for k in range(3)]
    return (weights[:, None] * torch.stack(projections)).sum(0)


def shade(
    surface: Surface,
    points: Float[Tensor, "3 rays"],
    directions: Float[Tensor, "3 rays"],
    lights: Float[Tensor, "lights 3 rays"],
    aims: Float[Tensor, "lights 3 rays"],
    arriving: Float[Tensor, "lights rays"],
    illumination: Illumination,
) -> Float[Tensor, "3 rays"]:
    """Radiance towards the camera under direct light, in linear RGB.

    Cosine law and inverse-square fall-off for what the tissue scatters, Blinn's highlights for the
    wet film.

    Args:
        surface: what is seen.
        points: where, in the world.
        directions: from the camera to the points, unit length.
        lights: position of each light in the world, for each ray.
        aims: direction of each light's beam in the world, unit length.
        arriving: share of each light that nothing keeps from the point.
        illumination: the lights' other properties.
    """
    radiance = torch.zeros_like(surface.albedo)
    wrap = illumination.wrap * torch.tensor(BLEED, device=points.device)[:, None]
    for light, aim, share, strength in zip(
        lights, aims, arriving, illumination.strengths, strict=True
    ):
        to_light = light - points
        square = to_light.square().sum(0) + 1.0
        to_light = unit(to_light)
        beam = (-to_light * aim).sum(0).clamp_min(0.05).pow(illumination.beam)
        irradiance = strength * share * beam / square
        cosine = (surface.normal * to_light).sum(0)
        diffuse = ((cosine + wrap) / (1 + wrap)).clamp_min(0)
        half = unit(to_light - directions)
        shine = (surface.film_normal * half).sum(0).clamp_min(0).pow(surface.shininess)
        radiance += irradiance * (
            surface.albedo * diffuse + surface.specular * shine * (cosine > 0)
        )
    return radiance * illumination.colour[:, None] / len(lights)
