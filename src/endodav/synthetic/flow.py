"""Exact forward flow: where each visible point of the scene is in the next frame.

No search and no approximation: the scene knows what each of its material points does. A point of
the wall keeps its (u, v) and moves with the wall's height; a point of a solid keeps its place along
the axis and around it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from endodav.geometry.camera import invert, pixel_grid, transform_points
from endodav.synthetic.render import axial_coordinates, carrier, cone_gap, unit, wall_gap
from endodav.synthetic.scene import RoundCone, Scene, Wall
from endodav.synthetic.sensor import Sensor, pixel_rays

NEWTON_STEPS = 6  # from r = R the error halves at worst and then squares: far below float32

Points = Float[Tensor, "3 rays"]


@torch.inference_mode()
def forward_flow(
    scene: Scene, sensor: Sensor, depth: Float[Tensor, "time height width"]
) -> Float[Tensor, "steps height width 2"]:
    """Flow from each frame to the next in pixels, (x, y), whatever hides the point there.

    Args:
        scene: on the CPU.
        sensor: the camera.
        depth: Z-depth in mm of what each pixel shows; 0 or infinite where unknown.

    Returns:
        One flow fewer than frames; 0 where the depth is unknown, or the point has passed behind the
        camera.
    """
    frames, height, width = depth.shape
    rays = pixel_rays(sensor)
    grid = pixel_grid(height, width)
    poses = scene.T_world_from_camera
    flow = torch.zeros(frames - 1, height, width, 2)
    for now in range(frames - 1):
        known = torch.isfinite(depth[now]) & (depth[now] > 0)
        seen = transform_points(poses[now], rays[known] * depth[now][known][:, None])
        moved = advance(scene, seen.T.contiguous(), now)
        there = transform_points(invert(poses[now + 1]), moved.T)
        step = project(there, sensor) - grid[known]
        flow[now][known] = torch.where(there[:, 2:] > 0, step, 0.0)
    return flow


def advance(scene: Scene, points: Points, now: int) -> Points:
    """Where the material at world points on visible surfaces of frame `now` is a frame later."""
    frames = torch.full_like(points[0], now, dtype=torch.long)
    rays = torch.arange(points.shape[1])
    moved = points.clone()
    on_wall = carrier(scene, points, frames)
    for index, wall in enumerate(scene.walls):
        on = (on_wall == index).nonzero()[:, 0]
        moved[:, on] = _on_wall(wall, points[:, on], scene.deformation[now : now + 2])
    nearest = wall_gap(scene, frames)(points, rays)[0].abs()
    for cone in scene.solids:
        gap = cone_gap(cone, frames)(points, rays)[0].abs()
        on = (gap < nearest).nonzero()[:, 0]
        nearest[on] = gap[on]
        moved[:, on] = _on_cone(cone, points[:, on], frames[on])
    return moved


def _on_wall(wall: Wall, points: Points, deformation: Float[Tensor, "2 2"]) -> Points:
    """The height at the same (u, v) changes by as much as the gap above a fixed point does."""
    stages = deformation[:, None].expand(-1, points.shape[1], -1)
    before, after = (wall.gap(points, stage)[0] for stage in stages)
    return points + (after - before) * wall.chart.outward(points)


def _on_cone(cone: RoundCone, points: Points, frames: Int[Tensor, " rays"]) -> Points:
    """The offset from the axis turns with the axis, by the smallest rotation (no twist)."""
    along, _, offset = axial_coordinates(cone, points, frames)
    start, end = cone.start.T[:, frames + 1], cone.end.T[:, frames + 1]
    before = unit((cone.end - cone.start).T[:, frames])
    after = unit(end - start)
    axis = torch.linalg.cross(before, after, dim=0)  # its length is the sine of the angle
    turn = torch.linalg.cross(axis, offset, dim=0)
    cosine = (before * after).sum(0)
    # Rodrigues' formula, in a form without division by the sine
    turned: Tensor = offset + turn + torch.linalg.cross(axis, turn, dim=0) / (1 + cosine)
    return start + along * (end - start) + turned


def project(points: Float[Tensor, "n 3"], sensor: Sensor) -> Float[Tensor, "n 2"]:
    """Pixels (u, v) at which points of the camera frame appear; the inverse of `pixel_rays`."""
    bent = points[:, :2] / points[:, 2:]
    straight = bent / _stretch(bent.square().sum(-1, keepdim=True).sqrt(), sensor.distortion)
    pixels: Tensor = sensor.intrinsics.diagonal()[:2] * straight + sensor.intrinsics[:2, 2]
    return pixels


def _stretch(bent: Float[Tensor, "n 1"], distortion: float) -> Float[Tensor, "n 1"]:
    """1 + k r^2 at the r for which r + k r^3 = `bent`, by Newton's method."""
    r = bent.clone()
    for _ in range(NEWTON_STEPS):
        r = r - (r + distortion * r**3 - bent) / (1 + 3 * distortion * r.square())
    return 1 + distortion * r.square()
