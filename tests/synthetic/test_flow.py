"""Forward flow against what is known of it: stillness, rigid motion, points that keep a mark."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from endodav.geometry.camera import invert, look_at, rigid, rotation_from_axis_angle
from endodav.geometry.warp import rigid_flow, sample
from endodav.synthetic import render_clip
from endodav.synthetic.appearance import random_illumination
from endodav.synthetic.clip import render
from endodav.synthetic.flow import advance, forward_flow, project
from endodav.synthetic.scene import (
    Material,
    PlacedChart,
    PlaneChart,
    RoundCone,
    Scene,
    TubeChart,
    Wall,
    Wave,
    sample_table,
    wall_layers,
)
from endodav.synthetic.sensor import Sensor, pixel_rays, random_sensor

HEIGHT, WIDTH = 48, 60
PLAIN = Material(torch.full((3, 2, 2), 0.5), torch.ones(6, 2, 2), 10.0, 0.0, 10.0)


def pinhole(distortion: float = 0.0) -> Sensor:
    sensor = random_sensor(np.random.default_rng(0), HEIGHT, WIDTH, (70, 70))
    everything = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    return replace(sensor, distortion=distortion, field_of_view=everything)


def bumpy(shape: tuple[int, int], size: float) -> torch.Tensor:
    """A table of smooth bumps that closes."""
    v = torch.linspace(-torch.pi, torch.pi, shape[0])[:, None]
    u = torch.linspace(-torch.pi, torch.pi, shape[1])[None]
    return size * (torch.sin(5 * v) + torch.cos(2 * u - v) + 0.5 * torch.sin(3 * u))


def tube() -> Wall:
    waves = ((Wave(2.0, 0.08, 0.3), Wave(1.5, 0.1, 1.0)),)
    changes = torch.stack([torch.full((257, 129), 1.0), bumpy((257, 129), 0.5)])
    layers = wall_layers(12 + bumpy((257, 129), 0.8), changes, (120 / 256, 75 / 128))
    return Wall(TubeChart(60.0, 0.01, waves), layers, 0.6, PLAIN)


def plane() -> Wall:
    changes = torch.stack([torch.full((129, 129), 2.0), bumpy((129, 129), 1.0)])
    layers = wall_layers(40 + bumpy((129, 129), 2.0), changes, (1.0, 1.0))
    return Wall(PlaneChart(64.0), layers, 1.0, PLAIN)


def drawn(kind: str, frames: int = 3) -> Scene:
    """Everything moves: camera, wall and a solid in front of it."""
    step = rotation_from_axis_angle(
        torch.tensor([[0.01, 0.02, 0.03]]) * torch.arange(frames)[:, None]
    )
    poses = rigid(step, torch.tensor([[0.3, -0.2, 0.4]]) * torch.arange(frames)[:, None])
    sway = torch.tensor([[0.2, 0.1, 0.0]]) * torch.arange(frames)[:, None]
    start, end = torch.tensor([[-6.0, 2.0, 12.0]]) + sway, torch.tensor([[-1.0, 1.0, 18.0]]) - sway
    stages = 0.2 * torch.stack([torch.arange(frames), -torch.arange(frames)], dim=1).float()
    solid = RoundCone(start, end, (1.5, 1.0), PLAIN)
    if kind == "fork":
        T = rigid(
            rotation_from_axis_angle(torch.tensor([0.0, 0.5, 0.0])), torch.tensor([0.0, 0.0, 20.0])
        )
        branch = replace(tube(), chart=PlacedChart(tube().chart, T))
        return Scene((tube(), branch), (solid,), stages, poses)
    return Scene((WALLS[kind](),), (solid,), stages, poses)


WALLS = {"tube": tube, "plane": plane}
KINDS = (*WALLS, "fork")


def at_rest(scene: Scene) -> Scene:
    return replace(scene, solids=(), deformation=torch.zeros_like(scene.deformation))


def standing(scene: Scene) -> Scene:
    poses = scene.T_world_from_camera
    return replace(scene, T_world_from_camera=poses[:1].expand_as(poses))


def depth_of(scene: Scene, sensor: Sensor) -> torch.Tensor:
    light = random_illumination(np.random.default_rng(0), 5.0)
    return render(scene, sensor, light, torch.device("cpu"))[1]


def world_points(scene: Scene, sensor: Sensor, depth: torch.Tensor, frame: int) -> torch.Tensor:
    T = scene.T_world_from_camera[frame]
    return (pixel_rays(sensor) * depth[frame, ..., None]) @ T[:3, :3].T + T[:3, 3]


def targets(flow: torch.Tensor) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    return torch.stack([columns, rows], dim=-1) + flow


def well_inside(pixels: torch.Tensor) -> torch.Tensor:
    inside = (pixels > 1) & (pixels < torch.tensor([WIDTH - 2.0, HEIGHT - 2.0]))
    return inside.all(-1)


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_still_does_not_flow(kind: str) -> None:
    scene = at_rest(standing(drawn(kind)))
    sensor = pinhole(distortion=0.15)
    flow = forward_flow(scene, sensor, depth_of(scene, sensor))
    assert flow.shape == (2, HEIGHT, WIDTH, 2)
    assert flow.abs().max() < 2e-3


@pytest.mark.parametrize("kind", KINDS)
def test_a_moving_camera_sees_the_rigid_flow_of_its_depth(kind: str) -> None:
    scene, sensor = at_rest(drawn(kind)), pinhole()
    depth = depth_of(scene, sensor)
    flow = forward_flow(scene, sensor, depth)
    poses = scene.T_world_from_camera
    known = torch.isfinite(depth[:-1])
    finite = torch.where(known, depth[:-1], 1.0)
    intrinsics = sensor.intrinsics.expand(2, 3, 3)
    expected = rigid_flow(finite, intrinsics, invert(poses[1:]) @ poses[:-1]).permute(0, 2, 3, 1)
    torch.testing.assert_close(flow[known], expected[known], rtol=1e-3, atol=5e-3)
    assert flow[known].abs().mean() > 0.1


@pytest.mark.parametrize("kind", list(WALLS))
def test_a_deforming_wall_keeps_its_colours(kind: str) -> None:
    """What is painted on the wall is found where its points flow to, unless hidden there."""
    scene, sensor = replace(standing(drawn(kind, frames=2)), solids=()), pinhole(distortion=0.1)
    depth = depth_of(scene, sensor)
    there = targets(forward_flow(scene, sensor, depth)[0])
    paint = bumpy((257, 257), 1.0)[None]
    colours = []
    for frame in (0, 1):
        points = world_points(scene, sensor, depth, frame).reshape(-1, 3).T
        u, v, _ = scene.walls[0].chart.to_chart(points)
        colours.append(sample_table(paint, u, v).reshape(HEIGHT, WIDTH))
    found = sample(colours[1][None, None], there[None])[0, 0]
    inside = well_inside(there) & torch.isfinite(depth[0])
    error = (found - colours[0]).abs()[inside]
    in_place = (colours[1] - colours[0]).abs()[inside]
    assert (there - targets(torch.zeros(1)))[inside].abs().mean() > 0.1
    assert error.median() < 0.1 * in_place.median()


@pytest.mark.parametrize("kind", KINDS)
def test_flow_leads_to_the_depth_of_the_next_frame(kind: str) -> None:
    """Everything moves; what is not hidden is found where the flow says, at its own new depth."""
    scene, sensor = drawn(kind, frames=2), pinhole(distortion=0.1)
    depth = depth_of(scene, sensor)
    known = torch.isfinite(depth[0])
    there = targets(forward_flow(scene, sensor, depth)[0])
    moved = advance(scene, world_points(scene, sensor, depth, 0)[known].T.contiguous(), 0)
    T = invert(scene.T_world_from_camera[1])
    expected = torch.full_like(depth[0], torch.inf)
    expected[known] = moved.T @ T[2, :3] + T[2, 3]
    found = sample(depth[1][None, None].nan_to_num(posinf=0), there[None])[0, 0]
    inside = well_inside(there) & known
    error = ((found - expected).abs() / expected)[inside]
    hidden = found[inside] < 0.97 * expected[inside]
    assert error[~hidden].median() < 3e-3
    assert (error[~hidden] < 0.03).float().mean() > 0.9


def test_a_solid_carries_its_points_as_a_rigid_body() -> None:
    """Unless it is stretched: each point keeps its distances to both ends of the axis."""
    turn = rotation_from_axis_angle(torch.tensor([0.3, -0.2, 0.5]))
    start, end = torch.tensor([1.0, 2.0, 30.0]), torch.tensor([6.0, -3.0, 45.0])
    moved_ends = [turn @ p + torch.tensor([2.0, 1.0, -3.0]) for p in (start, end)]
    cone = RoundCone(
        torch.stack([start, moved_ends[0]]), torch.stack([end, moved_ends[1]]), (3.0, 2.0), PLAIN
    )
    scene = replace(drawn("tube", 2), solids=(cone,))
    direction = torch.nn.functional.normalize(end - start, dim=0)
    aside = torch.linalg.cross(direction, torch.tensor([0.0, 1.0, 0.0]))
    aside = aside / aside.norm()
    points = torch.stack(
        [start + 3.0 * aside, (start + end) / 2 + 2.5 * aside, end + 2 * direction]
    )
    moved = advance(scene, points.T.contiguous(), 0).T
    for before, after in ((start, moved_ends[0]), (end, moved_ends[1])):
        torch.testing.assert_close(
            (moved - after).norm(dim=1), (points - before).norm(dim=1), rtol=1e-4, atol=1e-3
        )


@pytest.mark.parametrize("distortion", [0.0, 0.05, 0.2])
def test_projection_undoes_the_rays_of_the_pixels(distortion: float) -> None:
    sensor = pinhole(distortion)
    pixels = project(7.0 * pixel_rays(sensor).reshape(-1, 3), sensor)
    torch.testing.assert_close(
        pixels.reshape(HEIGHT, WIDTH, 2), targets(torch.zeros(HEIGHT, WIDTH, 2)), rtol=0, atol=1e-3
    )


def test_a_point_behind_the_next_camera_does_not_flow() -> None:
    scene, sensor = at_rest(standing(drawn("tube", 2))), pinhole()
    depth = depth_of(scene, sensor)
    poses = scene.T_world_from_camera.clone()
    position, axis, down = poses[1, :3, 3], poses[1, :3, 2], poses[1, :3, 1]
    poses[1] = look_at(position, position - axis, down)
    turned = replace(scene, T_world_from_camera=poses)
    assert (forward_flow(turned, sensor, depth) == 0).all()


def test_flow_is_made_on_request_and_is_zero_where_depth_is_unknown() -> None:
    assert render_clip(3, 2, 24, 30).flow is None
    for seed in range(100):
        clip = render_clip(seed, 2, 24, 30, flow=True)
        if not clip.valid[0].all():
            break
    assert clip.flow is not None
    assert clip.flow.shape == (1, 24, 30, 2)
    assert clip.flow.dtype == np.float32
    assert (clip.flow[~clip.valid[:-1]] == 0).all()
    assert np.abs(clip.flow[clip.valid[:-1]]).mean() > 0
