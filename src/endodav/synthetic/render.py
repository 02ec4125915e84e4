"""Sphere tracing: where does the ray of each pixel meet the scene?

Sphere tracing (Hart 1996) advances along a ray by a distance that is known to be free, until nothing is left.
The wall's table gives such a distance only approximately, so a ray stops as soon as it has crossed the wall,
and the crossing, bracketed by its last two positions, is then located by regula falsi to float precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from endodav.synthetic.scene import RoundCone, Scene, Wall

MAX_DISTANCE = 260.0  # mm; farther away is outside of the endoscope's world
MAX_STEPS = 160
ENVELOPE_STEP = 0.65  # of the gap to the envelope, whose slope is at most 1: 1/sqrt(2), a little less
SURFACE_STEP = 0.2  # of the gap to the surface itself, whose slope may be steep
FOOTPRINT_STEP = 0.006  # of the distance travelled, about a pixel: what is thinner cannot be seen
REFINEMENTS = 8
RAYS_AT_ONCE = {"cpu": 1 << 15, "cuda": 1 << 21}  # what fits into the cache or the memory


@dataclass(frozen=True)
class Hits:
    """Where rays met the scene.

    Attributes:
        distance: along the ray in mm; infinite where nothing was met.
        solid: index of the solid that was met, -1 for the wall.
    """

    distance: Float[Tensor, "rays"]
    solid: Int[Tensor, "rays"]


def cast_rays(
    scene: Scene,
    origins: Float[Tensor, "3 rays"],
    directions: Float[Tensor, "3 rays"],
    frames: Int[Tensor, "rays"],
) -> Hits:
    """First intersection of each ray with the scene.

    Args:
        scene: what to meet; on the device of the rays.
        origins: starting points in the world in mm, in free space.
        directions: unit vectors in the world.
        frames: index of the frame that each ray belongs to.
    """
    distance = trace_wall(scene.wall, origins, directions, scene.deformation[frames])
    solid = torch.full_like(frames, -1)
    for index, cone in enumerate(scene.solids):
        nearer = trace_cone(cone, origins, directions, frames)
        solid = torch.where(nearer < distance, index, solid)
        distance = torch.minimum(nearer, distance)
    return Hits(distance, solid)


def trace_wall(
    wall: Wall,
    origins: Float[Tensor, "3 rays"],
    directions: Float[Tensor, "3 rays"],
    deformation: Float[Tensor, "rays"],
) -> Float[Tensor, "rays"]:
    """Distance along each ray to the wall, infinite where it is not met.

    Rays that have arrived leave the working set, so the cost follows the rays that are still under way.
    """
    near = torch.zeros_like(deformation)
    far = torch.full_like(deformation, torch.inf)
    alive = torch.arange(deformation.numel(), device=deformation.device)
    o, d, bend, t = origins, directions, deformation, near
    step = torch.zeros_like(t)
    for _ in range(MAX_STEPS):
        gap, free = wall.gap(o + t * d, bend)
        crossed = gap <= 0
        near[alive] = torch.where(crossed, t - step, t)
        far[alive] = torch.where(crossed, t, torch.inf)
        going = ~crossed & (t < MAX_DISTANCE)
        if not going.any():
            break
        step = torch.maximum(ENVELOPE_STEP * free, SURFACE_STEP * gap)
        step = torch.maximum(step, FOOTPRINT_STEP * t)
        if going.float().mean() < 0.8:
            keep = going.nonzero()[:, 0]
            alive, t, step, bend = alive[keep], t[keep], step[keep], bend[keep]
            o, d = o[:, keep], d[:, keep]
            t = t + step
        else:
            step = torch.where(going, step, 0.0)
            t = t + step
    return _refine(wall, origins, directions, deformation, near, far)
