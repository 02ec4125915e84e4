"""One call from a seed to a clip with ground truth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from torch import Tensor

from endodav.errors import RecipeError
from endodav.synthetic.appearance import (
    Illumination,
    random_illumination,
    shade,
    surface_at,
)
from endodav.synthetic.families import FAMILIES
from endodav.synthetic.families.common import clearance
from endodav.synthetic.flow import forward_flow
from endodav.synthetic.optics import add_smoke, camera_steps, through_lens, typical_depth
from endodav.synthetic.render import MAX_DISTANCE, cast_rays, length
from endodav.synthetic.scene import Scene, to_device
from endodav.synthetic.sensor import FRAMES_AT_ONCE, Sensor, develop, pixel_rays, random_sensor
from endodav.synthetic.shadow import light_arriving

GENERATION = 2  # of the renderer: raised when a seed no longer gives the same clip
RAYS_AT_ONCE = {"cpu": 1 << 15, "cuda": 1 << 21}  # what the cache, or the memory, holds
BOUNCES = 1.2  # mean number of reflections off tissue of the ambient light that the camera sees


@dataclass(frozen=True)
class RenderedClip:
    """A synthetic clip with exact ground truth.

    Attributes:
        images: sRGB, 8 bits.
        depth: Z-depth in millimetres of what each pixel shows; 0 where `valid` is false.
        valid: false outside the endoscope's field of view and where nothing was met.
        T_world_from_camera: pose of the camera in each frame, translation in millimetres.
        intrinsics: pinhole matrix in pixels; integers are pixel centres.
        distortion: k; the ray of a pixel at (x, y) = K^-1 (u, v) goes through (x s, y s, 1) with
            s = 1 + k (x^2 + y^2). 0 is an ideal pinhole.
        family: kind of scene.
        seed: of the clip.
        flow: (x, y) in pixels from what each pixel of a frame shows to where that is in the next
            frame, hidden there or not; 0 where `valid` is false. None unless asked for.
    """

    images: UInt8[np.ndarray, "time height width 3"]
    depth: Float32[np.ndarray, "time height width"]
    valid: Bool[np.ndarray, "time height width"]
    T_world_from_camera: Float32[np.ndarray, "time 4 4"]
    intrinsics: Float32[np.ndarray, "3 3"]
    distortion: float
    family: str
    seed: int
    flow: Float32[np.ndarray, "steps height width 2"] | None


def render_clip(
    seed: int,
    frames: int,
    height: int,
    width: int,
    family: str | None = None,
    device: str = "cpu",
    flow: bool = False,
    rectified: bool = False,
    stride: int = 1,
) -> RenderedClip:
    """Draw a scene, a camera and its path from a seed, and render them.

    The same arguments give the same bytes on the same machine and number of threads.

    Args:
        seed: any non-negative integer.
        frames: length of the clip.
        height: rows.
        width: columns.
        family: a name in `FAMILIES`, or None to draw one by the families' weights.
        device: where to render.
        flow: whether to compute the optical flow, too.
        rectified: whether the lens is an ideal pinhole, whatever the seed would draw.
        stride: steps of the motion from one rendered frame to the next; what lies between is not
            rendered, and nothing is blurred by more than one step.

    Raises:
        RecipeError: if there is no family of that name.
    """
    rng = np.random.default_rng(seed)
    names = list(FAMILIES)
    weights = np.array([FAMILIES[name].weight for name in names])
    drawn = str(rng.choice(names, p=weights / weights.sum()))
    name = drawn if family is None else family
    if name not in FAMILIES:
        raise RecipeError(f"There is no scene family {name!r}; choose one of {', '.join(names)}.")
    scene = FAMILIES[name].draw(rng, (frames - 1) * stride + 1)
    sensor = random_sensor(rng, height, width, FAMILIES[name].field_of_view)
    sensor = replace(sensor, distortion=0.0) if rectified else sensor
    illumination = random_illumination(rng, clearance(scene))
    radiance, depth = render(scene, sensor, illumination, torch.device(device), stride)
    scene = scene.every(stride)
    seen = torch.isfinite(depth) & sensor.field_of_view
    depth = torch.where(seen, depth, 0.0)
    return RenderedClip(
        images=develop(radiance, sensor, rng, stride),
        depth=depth.numpy(),
        valid=seen.numpy(),
        T_world_from_camera=scene.T_world_from_camera.numpy(),
        intrinsics=sensor.intrinsics.numpy(),
        distortion=sensor.distortion,
        family=name,
        seed=seed,
        flow=forward_flow(scene, sensor, depth).numpy() if flow else None,
    )


@torch.inference_mode()
def render(
    scene: Scene,
    sensor: Sensor,
    illumination: Illumination,
    device: torch.device,
    stride: int = 1,
) -> tuple[Tensor, Tensor]:
    """Radiance [time, 3, height, width] in linear RGB (on `device`) and Z-depth in mm (on the CPU).

    Of every `stride`-th frame of the scene. Depth is infinite where a ray meets nothing.
    """
    scene, illumination = to_device(scene, device), to_device(illumination, device)
    steps = camera_steps(scene.T_world_from_camera)[::stride]
    scene = scene.every(stride)
    frames = len(scene.deformation)
    rays = pixel_rays(sensor).to(device)
    lit, albedo, depth = _trace(scene, illumination, rays, frames)
    typical = typical_depth(depth)
    for first in range(0, frames, FRAMES_AT_ONCE):
        now = slice(first, min(first + FRAMES_AT_ONCE, frames))
        radiance = lit[now] + _ambient(lit[now], albedo[now], illumination.ambient)
        if illumination.smoke is not None:
            times = range(now.start * stride, now.stop * stride, stride)
            radiance = add_smoke(radiance, depth[now], illumination.smoke, times, typical)
        lit[now] = through_lens(radiance, depth[now], steps[now], rays, sensor.lens, typical)
    return lit, depth.cpu()


def _trace(
    scene: Scene, illumination: Illumination, rays: Tensor, frames: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Direct radiance and albedo, both [time, 3, height, width], and Z-depth of all frames."""
    height, width, _ = rays.shape
    pixels = height * width
    surface = torch.empty(2, frames, 3, pixels, device=rays.device)
    depth = torch.empty(frames, pixels, device=rays.device)
    count, at_once = frames * pixels, RAYS_AT_ONCE[rays.device.type]
    for first in range(0, count, at_once):
        chunk = torch.arange(first, min(first + at_once, count), device=rays.device)
        time, pixel = chunk // pixels, chunk % pixels
        parts = _render_rays(scene, illumination, time, rays.flatten(0, 1).T[:, pixel])
        surface[0, time, :, pixel] = parts[0].T
        surface[1, time, :, pixel] = parts[1].T
        depth[time, pixel] = parts[2]
    lit, albedo = surface.reshape(2, frames, 3, height, width)
    return lit, albedo, depth.reshape(frames, height, width)


def _ambient(lit: Tensor, albedo: Tensor, strength: float) -> Tensor:
    """Light thrown back by the cavity: alike in every corner, and redder with each bounce."""
    level = lit.mean(1).flatten(1).median(dim=1).values / albedo.flatten(1).mean(1).clamp_min(1e-6)
    return strength * level[:, None, None, None] * albedo.pow(BOUNCES)


def _render_rays(
    scene: Scene, illumination: Illumination, frames: Tensor, rays: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Direct radiance [3, n], albedo [3, n] and Z-depth [n] of rays given at Z-depth 1."""
    T = scene.T_world_from_camera[frames].permute(1, 2, 0)
    rotation, origins = T[:3, :3], T[:3, 3].contiguous()
    stretch = length(rays)
    directions = torch.einsum("ijn,jn->in", rotation, rays / stretch).contiguous()
    hits = cast_rays(scene, origins, directions, frames)
    # what meets nothing is shaded at the horizon, where it comes out black
    distance = hits.distance.clamp_max(MAX_DISTANCE)
    points = origins + distance * directions
    surface = surface_at(scene, points, hits, frames)
    poses = scene.T_world_from_camera
    offsets = torch.einsum("tij,lj->lit", poses[:, :3, :3], illumination.positions)
    lights = poses[:, :3, 3].T + offsets  # [light, 3, time]
    aims = torch.einsum("tij,lj->lit", poses[:, :3, :3], illumination.aims)
    arriving = torch.stack([light_arriving(scene, points, light, hits, frames) for light in lights])
    lit = shade(
        surface,
        points,
        directions,
        lights[:, :, frames],
        aims[:, :, frames],
        arriving,
        illumination,
    )
    met = torch.isfinite(hits.distance)
    return lit * met, surface.albedo * met, hits.distance / stretch
