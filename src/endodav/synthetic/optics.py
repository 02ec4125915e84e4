"""What lies between the tissue and the sensor: smoke, drops on the lens, focus, shutter.

All of it changes linear radiance only; the depth stays that of the surface behind.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from endodav.geometry.camera import invert
from endodav.synthetic.noise import fractal_noise

MOTION_SAMPLES = 5  # pictures averaged while the shutter is open
LONGEST_SMEAR = 0.08  # of the picture's width
BLUR_LEVELS = (0.0, 1.2, 2.6)  # standard deviations in pixels between which defocus is blended

Radiance = Float[Tensor, "time 3 height width"]
Depth = Float[Tensor, "time height width"]


@dataclass(frozen=True)
class Smoke:
    """Cautery smoke or fog that drifts through the view.

    Attributes:
        density: optical depth at the median Z-depth of the clip; 0 is clear air.
        brightness: of what it scatters back, relative to the mean radiance of the frame.
        wisps: log of the local density; a tile that drifts over the picture.
        drift: of that tile, in pixels of its own a frame.
    """

    density: float
    brightness: float
    wisps: Float[Tensor, "rows cols"]
    drift: tuple[float, float]


def random_smoke(rng: np.random.Generator) -> Smoke:
    """From a veil to a thick cloud."""
    density = float(np.exp(rng.uniform(np.log(0.08), np.log(0.8))))
    wisps = rng.uniform(0.2, 1) * fractal_noise(rng, (128, 128), (2, 2), octaves=5)
    down, across = rng.normal(0, 1.5, 2)
    return Smoke(density, float(rng.uniform(0.6, 1.6)), wisps, (float(down), float(across)))


def add_smoke(
    radiance: Radiance, depth: Depth, smoke: Smoke, times: range, typical: float
) -> Radiance:
    """Beer-Lambert: light is lost exponentially with depth, and the smoke's own glow replaces it.

    Args:
        radiance: of the scene in clear air.
        depth: Z-depth in mm; infinite where nothing was met.
        smoke: what fills the air.
        times: numbers of the frames in their clip.
        typical: the clip's `typical_depth`.
    """
    shifts = [(round(smoke.drift[0] * time), round(smoke.drift[1] * time)) for time in times]
    tiles = torch.stack([smoke.wisps.roll(shift, (0, 1)) for shift in shifts])
    wisps = F.interpolate(tiles[:, None], depth.shape[1:], mode="bilinear", align_corners=True)
    thickness = (
        smoke.density * (depth / typical).clamp_max(3)[:, None] * wisps.to(depth.device).exp()
    )
    passed = torch.exp(-thickness)
    glow = smoke.brightness * radiance.mean((1, 2, 3), keepdim=True)
    return passed * radiance + (1 - passed) * glow


@dataclass(frozen=True)
class Lens:
    """The lens and its shutter.

    Attributes:
        near_limit: Z-depth relative to the clip's median nearer than which things blur; 0: all is
            sharp.
        shutter: share of the time between two frames during which it is open.
        drops: of water on the glass: centre x, centre y and radius, relative to the picture's
            width.
    """

    near_limit: float
    shutter: float
    drops: tuple[tuple[float, float, float], ...]


def random_lens(rng: np.random.Generator) -> Lens:
    """Mostly a clean lens; at times short-sighted, slow or wet."""
    drops: tuple[tuple[float, float, float], ...] = ()
    if rng.random() < 0.06:
        places = rng.uniform((0.05, 0.05, 0.03), (0.95, 0.75, 0.16), (int(rng.integers(1, 6)), 3))
        drops = tuple((float(x), float(y), float(r)) for x, y, r in places)
    return Lens(
        near_limit=float(rng.uniform(0.3, 0.9)) if rng.random() < 0.3 else 0.0,
        shutter=float(rng.uniform(0.2, 1)) if rng.random() < 0.4 else 0.0,
        drops=drops,
    )


def typical_depth(depth: Depth) -> float:
    """Median Z-depth in mm of what a clip shows; 1 if it shows nothing."""
    met = depth[torch.isfinite(depth)]
    return float(met.median()) if met.numel() else 1.0


def camera_steps(T_world_from_camera: Float[Tensor, "time 4 4"]) -> Float[Tensor, "time 4 4"]:
    """`T_next_from_this` of each frame; after the last the camera goes on as before."""
    now, following = T_world_from_camera[:-1], T_world_from_camera[1:]
    steps = invert(following) @ now
    last = steps[-1:] if len(steps) else torch.eye(4, device=steps.device)[None]
    return torch.cat([steps, last])


def through_lens(
    radiance: Radiance,
    depth: Depth,
    T_next_from_this: Float[Tensor, "time 4 4"],
    rays: Float[Tensor, "height width 3"],
    lens: Lens,
    typical: float,
) -> Radiance:
    """The radiance that reaches the sensor, blurred by focus, motion and drops.

    Args:
        radiance: of the scene.
        depth: Z-depth in mm; infinite where nothing was met.
        T_next_from_this: motion of the camera to the next frame (`camera_steps`).
        rays: of the pixels, at Z-depth 1.
        lens: what the light passes through.
        typical: the clip's `typical_depth`.
    """
    if lens.near_limit:
        radiance = _defocus(radiance, depth, lens.near_limit * typical)
    if lens.shutter:
        smear = lens.shutter * image_motion(depth, T_next_from_this, rays)
        radiance = _average_along(radiance, smear)
    return _wet(radiance, lens.drops) if lens.drops else radiance


def gaussian_blur(images: Radiance, sigma: float) -> Radiance:
    """Gaussian blur of `sigma` pixels, rows and columns one after the other."""
    if sigma == 0:
        return images
    height, width = images.shape[-2:]
    radius = math.ceil(2.5 * sigma)
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-radius, radius + 1)]
    weights = [weight / sum(weights) for weight in weights]
    # sums of shifted pictures are several times faster here than a grouped convolution
    padded = F.pad(images, (radius,) * 4, mode="replicate")
    rows = torch.zeros_like(padded[..., :height, :])
    for offset, weight in enumerate(weights):
        rows.add_(padded[..., offset : offset + height, :], alpha=weight)
    blurred = torch.zeros_like(images)
    for offset, weight in enumerate(weights):
        blurred.add_(rows[..., offset : offset + width], alpha=weight)
    return blurred


def image_motion(
    depth: Depth,
    T_next_from_this: Float[Tensor, "time 4 4"],
    rays: Float[Tensor, "height width 3"],
) -> Float[Tensor, "time height width 2"]:
    """How far a still scene moves until the next frame, in widths and heights of the picture / 2.

    Pixel spacing is measured on the rays at the middle of the picture.
    """
    height, width, _ = rays.shape
    step = T_next_from_this
    points = rays * depth.clamp_max(1e4)[..., None]
    moved = torch.einsum("tij,thwj->thwi", step[:, :3, :3], points) + step[:, None, None, :3, 3]
    there = moved[..., :2] / moved[..., 2:].clamp_min(1e-3)
    extent_x = rays[height // 2, -1, 0] - rays[height // 2, 0, 0]
    extent_y = rays[-1, width // 2, 1] - rays[0, width // 2, 1]
    motion = 2 * (there - rays[..., :2]) / torch.stack([extent_x, extent_y])
    return motion.clamp(-2 * LONGEST_SMEAR, 2 * LONGEST_SMEAR)


def _average_along(radiance: Radiance, smear: Float[Tensor, "time height width 2"]) -> Radiance:
    """Mean of samples spread evenly over the smear, which is centred on each pixel."""
    offsets = torch.linspace(-0.5, 0.5, MOTION_SAMPLES)
    grid = _identity_grid(radiance)
    taps = [
        F.grid_sample(
            radiance, grid + float(offset) * smear, padding_mode="border", align_corners=True
        )
        for offset in offsets
    ]
    return torch.stack(taps).mean(0)


def _defocus(radiance: Radiance, depth: Depth, limit: float) -> Radiance:
    """The circle of confusion grows with 1 / depth nearer than the limit in mm."""
    sigma = (4 * (limit / depth.clamp_min(1e-3) - 1)).clamp(0, BLUR_LEVELS[-1])[:, None]
    result = radiance
    for low, high in itertools.pairwise(BLUR_LEVELS):
        share = ((sigma - low) / (high - low)).clamp(0, 1)
        result = torch.lerp(result, gaussian_blur(radiance, high), share)
    return result


def _wet(radiance: Radiance, drops: tuple[tuple[float, float, float], ...]) -> Radiance:
    """Each drop is a small blurred lens: it shows more of the scene than its place should."""
    grid = _identity_grid(radiance)
    aspect = radiance.shape[2] / radiance.shape[3]
    inside = torch.zeros_like(grid[..., :1])
    for x, y, radius in drops:
        centre = torch.tensor([2 * x - 1, 2 * y / aspect - 1], device=grid.device)
        offset = grid - centre
        square = (offset[..., :1].square() + (aspect * offset[..., 1:]).square()) / (
            2 * radius
        ) ** 2
        within = (1 - square).clamp_min(0)
        grid = grid + within * offset
        inside = torch.maximum(inside, (3 * within).clamp_max(1))
    bent = F.grid_sample(
        gaussian_blur(radiance, 2.0),
        grid.expand(len(radiance), -1, -1, -1),
        padding_mode="border",
        align_corners=True,
    )
    return torch.lerp(radiance, bent, inside[..., 0][:, None])


def _identity_grid(images: Radiance) -> Float[Tensor, "1 height width 2"]:
    """The grid of `grid_sample` (corners aligned) that changes nothing."""
    y = torch.linspace(-1, 1, images.shape[2], device=images.device)
    x = torch.linspace(-1, 1, images.shape[3], device=images.device)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]
