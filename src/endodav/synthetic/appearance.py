"""What tissue and instruments look like: textures drawn once a scene, and light at the tip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from endodav.synthetic.noise import fractal_noise
from endodav.synthetic.render import Hits, axial_coordinates, cone_gap, normals, unit, wall_gap
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
DETAIL_SHAPE = (512, 512)  # cells of a tissue's repeating detail
INSTRUMENT_TILE = 10.0  # mm
TRIPLANAR_SHARPNESS = 4  # exponent on the normal that weighs the three projections of the detail

INSTRUMENTS: Mapping[str, Colour] = {
    "steel": (0.62, 0.62, 0.64),
    "plastic": (0.62, 0.69, 0.76),
    "black": (0.10, 0.10, 0.11),
    "white": (0.80, 0.80, 0.80),
}


@dataclass(frozen=True)
class Illumination:
    """Point lights beside the lens, and what the cavity throws back.

    Attributes:
        positions: of the lights in the camera frame in mm.
        colour: linear RGB of the light.
        beam: exponent of the cosine with which the light weakens away from the optical axis.
        wrap: share of light that scatters under the skin and reaches slopes turned away (half-
            Lambert).
        ambient: light from everywhere, relative to the median direct light of a frame.
    """

    positions: Float[Tensor, "lights 3"]
    colour: Float[Tensor, " 3"]
    beam: float
    wrap: float
    ambient: float


def linear(colour: Colour) -> Float[Tensor, "3 1 1"]:
    """An sRGB colour as linear albedo, ready to multiply a texture."""
    return torch.tensor(colour).pow(GAMMA)[:, None, None]


def random_illumination(rng: np.random.Generator) -> Illumination:
    """One or two lights a few millimetres off the lens, white or tinted, harsh or soft."""
    count = int(rng.integers(1, 3))
    positions = np.concatenate([rng.normal(0, 2.5, (count, 2)), np.zeros((count, 1))], axis=1)
    tint = np.exp(rng.normal((0.03, 0, -0.03), 0.08))
    return Illumination(
        torch.tensor(positions, dtype=torch.float32),
        torch.tensor(tint, dtype=torch.float32),
        beam=float(rng.uniform(0, 4)),
        wrap=float(rng.uniform(0, 0.35)),
        ambient=float(np.exp(rng.uniform(np.log(0.02), np.log(0.5)))),
    )


def tissue(
    rng: np.random.Generator,
    albedo: Float[Tensor, "3 rows cols"],
    other: Float[Tensor, " 3"],
    tile: float,
) -> Material:
    """Cover a base colour with patches, mottling, vessels and a wet film.

    Args:
        rng: source of randomness.
        albedo: linear base colour over the surface's (v, u).
        other: colour of the patches, relative to the base.
        tile: size in mm at which the detail repeats.
    """
    border = fractal_noise(rng, DETAIL_SHAPE, (4, 4), octaves=5)
    share = torch.sigmoid(rng.uniform(0.5, 5) * (border + rng.normal(0, 1.5)))
    factor = torch.lerp(torch.ones(3, 1, 1), other[:, None, None], share)
    mottle = fractal_noise(rng, DETAIL_SHAPE, (8, 8), gain=rng.uniform(0.5, 0.8))
    redness = fractal_noise(rng, DETAIL_SHAPE, (8, 8), octaves=3).clamp_min(0) * rng.uniform(0, 0.2)
    factor = factor * torch.exp(rng.uniform(0.03, 0.2) * mottle)
    factor = factor * torch.stack([redness, -redness, -redness]).exp()
    blood = torch.tensor(VESSEL_FACTOR)[:, None, None]
    factor = factor * torch.lerp(torch.ones(3, 1, 1), blood, _vessels(rng, DETAIL_SHAPE))
    film = fractal_noise(rng, DETAIL_SHAPE, (8, 8), octaves=5, gain=rng.uniform(0.5, 0.8))
    shifts = ((0, 0), (DETAIL_SHAPE[0] // 3, DETAIL_SHAPE[1] // 2), (DETAIL_SHAPE[0] // 2, 0))
    tilt = torch.stack([film.roll(shift, (0, 1)) for shift in shifts]) * rng.uniform(0.03, 0.25)
    return Material(
        albedo,
        close_seam(torch.cat([factor, tilt])),
        tile,
        specular=float(rng.choice([0.0, 1.0], p=[0.15, 0.85]) * rng.uniform(0.1, 1.2)),
        shininess=float(np.exp(rng.uniform(np.log(60), np.log(800)))),
    )


def _vessels(rng: np.random.Generator, shape: tuple[int, int]) -> Float[Tensor, "rows cols"]:
    """Thin branching lines, 0 to 1: the zeros of a fractal field, thinned out by another field."""
    lines = torch.zeros(shape)
    for cells in (8, 32):
        course = fractal_noise(rng, shape, (cells, cells), octaves=4)
        slope = (course - course.roll(1, 0)).abs() + (course - course.roll(1, 1)).abs()
        width = rng.uniform(0.8, 2.2)  # cells of the texture
        lines = torch.maximum(lines, (1 - course.abs() / (width * slope + 1e-3)).clamp(0, 1))
    presence = fractal_noise(rng, shape, (8, 8), octaves=3)
    return lines * (presence + rng.uniform(-1.5, 0.8)).clamp(0, 1) * rng.uniform(0.2, 0.9)


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
    normal = normals(
        wall_gap(scene, frames), points, torch.full_like(hits.distance, scene.wall.spacing)
    )
    u, v, _ = scene.wall.chart.to_chart(points)
    surface = _coat(scene.wall.material, normal, points, u, v)
    for index, cone in enumerate(scene.solids):
        on = (hits.solid == index).nonzero()[:, 0]
        along, radius, offset = axial_coordinates(cone, points[:, on], frames[on])
        normal = normals(cone_gap(cone, frames[on]), points[:, on], 0.05 * radius)
        around = torch.atan2(offset[0], offset[1]) / torch.pi
        coated = _coat(cone.material, normal, points[:, on], around, 2 * along - 1)
        for field in fields(Surface):
            getattr(surface, field.name)[..., on] = getattr(coated, field.name)
    return surface


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
    axis: Float[Tensor, "3 rays"],
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
        axis: optical axis of the endoscope in the world, unit length.
        illumination: the lights' other properties.
    """
    radiance = torch.zeros_like(surface.albedo)
    for light in lights:
        to_light = light - points
        square = to_light.square().sum(0) + 1.0
        to_light = unit(to_light)
        beam = (-to_light * axis).sum(0).clamp_min(0.05).pow(illumination.beam)
        irradiance = beam / square
        cosine = (surface.normal * to_light).sum(0)
        diffuse = ((cosine + illumination.wrap) / (1 + illumination.wrap)).clamp_min(0)
        half = unit(to_light - directions)
        shine = (surface.film_normal * half).sum(0).clamp_min(0).pow(surface.shininess)
        radiance += irradiance * (
            surface.albedo * diffuse + surface.specular * shine * (cosine > 0)
        )
    return radiance * illumination.colour[:, None] / len(lights)
