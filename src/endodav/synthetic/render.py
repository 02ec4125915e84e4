"""Sphere tracing: where the ray of each pixel meets the scene, and how the surface lies there.

Sphere tracing (Hart 1996) advances along a ray by a distance that is known to be free, until
nothing is left. A table gives such a distance only roughly, so a ray goes on until it has crossed
the surface; the crossing, bracketed by the last two positions, is then located by regula falsi to
the precision of float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from endodav.synthetic.scene import RoundCone, Scene

MAX_DISTANCE = 260.0  # mm; farther away is outside of an endoscope's world
MAX_STEPS = 200
ENVELOPE_STEP = (
    0.65  # of the gap to the envelope, whose slope is at most 1: 1/sqrt(2), a little less
)
SURFACE_STEP = 0.25  # of the gap to the surface itself, whose slope may be steep
FOOTPRINT_STEP = 0.01  # of the distance travelled, about a pixel: what is thinner cannot be seen
REFINEMENTS = 5

Gap = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From points [3, n] and the indices [n] of their rays to (signed gap, its lower bound) in mm."""


@dataclass(frozen=True)
class Hits:
    """Where rays met the scene.

    Attributes:
        distance: along the ray in mm; infinite where nothing was met.
        solid: index of the solid that was met, -1 for the wall.
    """

    distance: Float[Tensor, " rays"]
    solid: Int[Tensor, " rays"]


def cast_rays(
    scene: Scene,
    origins: Float[Tensor, "3 rays"],
    directions: Float[Tensor, "3 rays"],
    frames: Int[Tensor, " rays"],
) -> Hits:
    """First intersection of each ray with the scene.

    Args:
        scene: what to meet, on the device of the rays.
        origins: starting points in the world in mm, in free space.
        directions: unit vectors in the world.
        frames: the frame that each ray belongs to.
    """
    distance = march(wall_gap(scene, frames), origins, directions)
    solid = torch.full_like(frames, -1)
    for index, cone in enumerate(scene.solids):
        near = _passes_near(cone, origins, directions, frames).nonzero()[:, 0]
        there = march(cone_gap(cone, frames[near]), origins[:, near], directions[:, near])
        nearer = there < distance[near]
        solid[near[nearer]] = index
        distance[near[nearer]] = there[nearer]
    return Hits(distance, solid)


def march(
    gap: Gap, origins: Float[Tensor, "3 rays"], directions: Float[Tensor, "3 rays"]
) -> Float[Tensor, " rays"]:
    """Distance in mm along each ray to the first zero of `gap`, infinite where there is none.

    Rays that have arrived leave the working set in bulk, so the cost follows the rays under way.
    """
    before = torch.zeros_like(origins[0])
    after = torch.zeros_like(before)
    alive = torch.arange(before.numel(), device=before.device)
    o, d, t0, t1 = origins, directions, before.clone(), after.clone()
    for _ in range(MAX_STEPS):
        value, free = gap(o + t1 * d, alive)
        going = (value > 0) & (t1 < MAX_DISTANCE)
        step = torch.maximum(ENVELOPE_STEP * free, SURFACE_STEP * value)
        step = torch.maximum(step, FOOTPRINT_STEP * t1)
        t0, t1 = torch.where(going, t1, t0), torch.where(going, t1 + step, t1)
        under_way = int(going.sum())
        if under_way < 0.75 * alive.numel():
            before[alive], after[alive] = t0, t1
            keep = going.nonzero()[:, 0]
            alive, t0, t1, o, d = alive[keep], t0[keep], t1[keep], o[:, keep], d[:, keep]
        if under_way == 0:
            break
    before[alive], after[alive] = t0, t1
    return _locate_zero(gap, origins, directions, before, after)


def _locate_zero(
    gap: Gap, origins: Tensor, directions: Tensor, before: Tensor, after: Tensor
) -> Tensor:
    """Regula falsi, Illinois variant: the zero stays between `before` and `after`."""
    rays = torch.arange(before.numel(), device=before.device)
    gap_before, _ = gap(origins + before * directions, rays)
    gap_after, _ = gap(origins + after * directions, rays)
    missed = gap_after > 0
    for _ in range(REFINEMENTS):
        fraction = gap_before / (gap_before - gap_after).clamp_min(1e-12)
        middle = before + fraction.clamp(0, 1) * (after - before)
        value, _ = gap(origins + middle * directions, rays)
        outside = value > 0
        # the end that stays has its weight halved, or one side would never move
        gap_before = torch.where(outside, value, gap_before / 2)
        gap_after = torch.where(outside, gap_after / 2, value)
        before = torch.where(outside, middle, before)
        after = torch.where(outside, after, middle)
    fraction = gap_before / (gap_before - gap_after).clamp_min(1e-12)
    distance = before + fraction.clamp(0, 1) * (after - before)
    return torch.where(missed, torch.inf, distance)


def wall_gap(scene: Scene, frames: Int[Tensor, " rays"]) -> Gap:
    """The gap to the walls, deformed as they are in the frame of each ray.

    A point inside of any wall is free, and may move as far as any one wall allows: that way stays
    inside of that wall. So both numbers are the largest over the walls.
    """
    deformation = scene.deformation[frames]

    def gap(points: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
        stage = deformation[rays]
        value, free = scene.walls[0].gap(points, stage)
        for wall in scene.walls[1:]:
            other, other_free = wall.gap(points, stage)
            value, free = torch.maximum(value, other), torch.maximum(free, other_free)
        return value, free

    return gap


def carrier(
    scene: Scene, points: Float[Tensor, "3 rays"], frames: Int[Tensor, " rays"]
) -> Int[Tensor, " rays"]:
    """Index of the wall on which each point of the surface lies."""
    deformation = scene.deformation[frames]
    return torch.stack([wall.gap(points, deformation)[0] for wall in scene.walls]).argmax(dim=0)


def cone_gap(cone: RoundCone, frames: Int[Tensor, " rays"]) -> Gap:
    """The gap to a round cone, where it is in the frame of each ray."""

    def gap(points: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
        _, radius, offset = axial_coordinates(cone, points, frames[rays])
        value = length(offset) - radius
        return value, value

    return gap


def axial_coordinates(
    cone: RoundCone, points: Float[Tensor, "3 rays"], frames: Int[Tensor, " rays"]
) -> tuple[Float[Tensor, " rays"], Float[Tensor, " rays"], Float[Tensor, "3 rays"]]:
    """Position on the axis in [0, 1], the cone's radius there, and the vector to the point."""
    start, axis = cone.start.T[:, frames], (cone.end - cone.start).T[:, frames]
    from_start = points - start
    along = ((from_start * axis).sum(0) / axis.square().sum(0)).clamp(0, 1)
    radius = cone.radii[0] + along * (cone.radii[1] - cone.radii[0])
    return along, radius, from_start - along * axis


def normals(
    gap: Gap, points: Float[Tensor, "3 rays"], width: Float[Tensor, " rays"]
) -> Float[Tensor, "3 rays"]:
    """Unit normals towards free space: the gradient of the gap, from a tetrahedron of samples.

    Args:
        gap: the implicit surface.
        points: on the surface.
        width: half the distance in mm over which each gradient is taken.
    """
    rays = torch.arange(points.shape[1], device=points.device)
    gradient = torch.zeros_like(points)
    for corner in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)):
        direction = torch.tensor(corner, dtype=points.dtype, device=points.device)[:, None]
        gradient += direction * gap(points + width * direction, rays)[0]
    return unit(gradient)


def length(vectors: Float[Tensor, "3 rays"]) -> Float[Tensor, " rays"]:
    """Euclidean length; several times faster than a norm along the first dimension."""
    return vectors.square().sum(0).sqrt()


def unit(vectors: Float[Tensor, "3 rays"]) -> Float[Tensor, "3 rays"]:
    """Vectors of length 1 in the same directions."""
    return vectors / length(vectors).clamp_min(1e-12)


def _passes_near(cone: RoundCone, origins: Tensor, directions: Tensor, frames: Tensor) -> Tensor:
    """Whether the line of each ray comes as close to the cone's axis as the cone is thick."""
    start, axis = cone.start.T[:, frames], (cone.end - cone.start).T[:, frames]
    across = unit(torch.linalg.cross(directions, axis, dim=0))
    return ((origins - start) * across).sum(0).abs() <= max(cone.radii)
