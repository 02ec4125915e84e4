"""Shadows that instruments and loose organs cast.

A round cone hides a light from a point where the segment between the two comes nearer to the
cone's axis than its radius there. Distance of two segments: Ericson, Real-Time Collision Detection
(2005), section 5.1.9.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from endodav.synthetic.render import Hits, length
from endodav.synthetic.scene import RoundCone, Scene

PENUMBRA = 0.3  # of the radius: how far into a shadow light still leaks, for lights have a size


def light_arriving(
    scene: Scene,
    points: Float[Tensor, "3 rays"],
    lights: Float[Tensor, "3 time"],
    hits: Hits,
    frames: Int[Tensor, " rays"],
) -> Float[Tensor, " rays"]:
    """Share of a light that reaches each point past the scene's solids, 0 to 1.

    Args:
        scene: its solids throw the shadows; the wall throws none.
        points: on visible surfaces, in the world.
        lights: where the light is in each frame of the scene.
        hits: what each point lies on; a solid throws no shadow upon itself.
        frames: the frame of each point.
    """
    share = torch.ones_like(points[0])
    if not scene.solids:
        return share
    beams = points - lights[:, frames]
    squares = beams.square().sum(0)
    for index, cone in enumerate(scene.solids):
        near = _may_hide(cone, beams, squares, lights, frames) & (hits.solid != index)
        rays = near.nonzero()[:, 0]
        at = frames[rays]
        share[rays] *= 1 - _hidden(cone, beams[:, rays], lights[:, at], at)
    return share


def _may_hide(
    cone: RoundCone, beams: Tensor, squares: Tensor, lights: Tensor, frames: Tensor
) -> Tensor:
    """Whether a point is about as close to the plane through light and axis as the cone is thick.

    The plane is the same for all points of a frame, which makes this cheap.
    """
    start, axis = cone.start.T, (cone.end - cone.start).T
    to_start = start - lights
    across = torch.linalg.cross(axis, to_start, dim=0)
    across = across / length(across).clamp_min(1e-9)
    along = (-(to_start * axis).sum(0) / axis.square().sum(0)).clamp(0, 1)
    nearest = (length(to_start + along * axis) - max(cone.radii)).clamp_min(1e-3)
    # what is hidden lies within the angle under which the light sees the cone
    slope = max(cone.radii) / nearest
    offset = (beams * (across / slope)[:, frames]).sum(0)
    inside: Tensor = offset.square() <= squares
    return inside


def _hidden(cone: RoundCone, beam: Tensor, lights: Tensor, frames: Tensor) -> Tensor:
    """Share of the light that the cone takes away from each point."""
    start, axis = cone.start.T[:, frames], (cone.end - cone.start).T[:, frames]
    offset = lights - start
    a, e = beam.square().sum(0), axis.square().sum(0)
    b, c, f = (beam * axis).sum(0), (beam * offset).sum(0), (axis * offset).sum(0)
    on_beam = ((b * f - c * e) / (a * e - b * b).clamp_min(1e-6)).clamp(0, 1)
    on_axis = ((b * on_beam + f) / e).clamp(0, 1)
    on_beam = ((b * on_axis - c) / a).clamp(0, 1)
    gap = length(offset + on_beam * beam - on_axis * axis)
    radius = cone.radii[0] + on_axis * (cone.radii[1] - cone.radii[0])
    return ((1 - gap / radius) / PENUMBRA).clamp(0, 1)
