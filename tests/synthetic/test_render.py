"""Sphere tracing against scenes whose distances are known in closed form."""

import math

import numpy as np
import pytest
import torch

from endodav.geometry.camera import look_at, transform_points
from endodav.synthetic.noise import fractal_noise
from endodav.synthetic.render import carrier, cast_rays, cone_gap, march, normals, wall_gap
from endodav.synthetic.scene import (
    Chart,
    Material,
    PlacedChart,
    PlaneChart,
    RoundCone,
    Scene,
    TubeChart,
    Wall,
    Wave,
    close_seam,
    wall_layers,
)

PLAIN = Material(torch.full((3, 2, 2), 0.5), torch.ones(6, 2, 2), 10.0, 0.0, 10.0)
STRAIGHT = 1e-9
DOWN = torch.tensor([0.0, 1.0, 0.0])


def scene_of(
    chart: Chart, height: torch.Tensor, spacing: float, solids: tuple[RoundCone, ...] = ()
) -> Scene:
    return Scene(
        (wall_of(chart, height, spacing),), solids, torch.zeros(1, 2), torch.eye(4).expand(1, 4, 4)
    )


def wall_of(chart: Chart, height: torch.Tensor, spacing: float) -> Wall:
    layers = wall_layers(height, torch.zeros(2, *height.shape), (spacing, spacing))
    return Wall(chart, layers, spacing, PLAIN)


def random_directions(count: int, spread: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    sideways = spread * (2 * torch.rand(2, count, generator=generator) - 1)
    return torch.nn.functional.normalize(torch.cat([sideways, torch.ones(1, count)]), dim=0)


def cast(scene: Scene, origin: list[float], directions: torch.Tensor) -> torch.Tensor:
    count = directions.shape[1]
    origins = torch.tensor(origin)[:, None].expand(3, count).contiguous()
    return cast_rays(scene, origins, directions, torch.zeros(count, dtype=torch.long)).distance


def test_straight_cylinder_is_met_at_its_analytic_distance() -> None:
    radius, x, y = 15.0, 4.0, -6.0
    scene = scene_of(TubeChart(200.0, STRAIGHT, ()), torch.full((65, 33), radius), 1.0)
    d = random_directions(2000, 2.0)
    a, b = d[0] ** 2 + d[1] ** 2, x * d[0] + y * d[1]
    expected = (-b + (b**2 - a * (x**2 + y**2 - radius**2)).sqrt()) / a
    within = expected < 150
    assert within.sum() > 1000
    found = cast(scene, [x, y, 0.0], d)
    torch.testing.assert_close(found[within], expected[within], rtol=1e-4, atol=1e-3)


def test_torus_is_met_on_its_surface() -> None:
    """A tube of constant curvature is a torus, whose implicit equation needs no chart."""
    radius, bend = 10.0, 40.0
    scene = scene_of(TubeChart(100.0, 1 / bend, ()), torch.full((65, 33), radius), 1.0)
    d = random_directions(1000, 1.0)
    points = torch.tensor([[2.0], [1.0], [0.0]]) + cast(scene, [2.0, 1.0, 0.0], d) * d
    from_ring = torch.hypot(torch.hypot(points[0] - bend, points[2]) - bend, points[1])
    torch.testing.assert_close(from_ring, torch.full_like(from_ring, radius), rtol=0, atol=2e-3)


def test_tilted_plane_is_met_at_its_analytic_distance() -> None:
    x = torch.linspace(-100, 100, 65).expand(65, 65)
    scene = scene_of(PlaneChart(100.0), 40 + 0.5 * x, 200 / 64)
    d = random_directions(1000, 0.5)
    expected = 40 / (d[2] - 0.5 * d[0])
    torch.testing.assert_close(cast(scene, [0.0, 0.0, 0.0], d), expected, rtol=1e-4, atol=1e-3)


def test_solid_in_front_hides_the_wall_and_keeps_its_shape() -> None:
    ball = RoundCone(
        torch.tensor([[0.0, 0.0, 20.0]]), torch.tensor([[0.0, 0.0, 20.1]]), (5.0, 5.0), PLAIN
    )
    scene = scene_of(PlaneChart(100.0), torch.full((33, 33), 50.0), 6.0, (ball,))
    axis = torch.tensor([[0.0], [0.0], [1.0]])
    torch.testing.assert_close(cast(scene, [0.0, 0.0, 0.0], axis), torch.tensor([15.0]))
    torch.testing.assert_close(cast(scene, [6.0, 0.0, 0.0], axis), torch.tensor([50.0]))


def test_a_ray_that_leaves_meets_nothing() -> None:
    scene = scene_of(PlaneChart(100.0), torch.full((33, 33), 50.0), 6.0)
    backwards = torch.tensor([[0.0], [0.0], [-1.0]])
    assert math.isinf(cast(scene, [0.0, 0.0, 0.0], backwards).item())


def test_thin_folds_are_not_passed() -> None:
    """Large steps are safe: they find the same first crossing as a thousand tiny ones."""
    rows = torch.linspace(-60, 60, 257)[:, None]
    folds = sum(torch.exp(-(((rows - centre) / 1.5) ** 2)) for centre in (10, 25, 40))
    height = (15 * (1 - 0.6 * folds)).expand(257, 65).contiguous()
    scene = scene_of(TubeChart(60.0, STRAIGHT, ()), height, 120 / 256)
    d = random_directions(500, 0.7)
    origins = torch.tensor([[5.0], [0.0], [0.0]]).expand(3, 500).contiguous()
    gap = wall_gap(scene, torch.zeros(500, dtype=torch.long))
    found = march(gap, origins, d)
    expected = torch.full((500,), torch.inf)
    for t in torch.arange(80, 0, -0.02):
        inside = gap(origins + t * d, torch.arange(500))[0] <= 0
        expected = torch.where(inside, t, expected)
    met = torch.isfinite(expected)
    agree = (found - expected).abs()[met] < 0.05
    assert met.sum() > 300
    assert agree.float().mean() > 0.99


def test_envelope_lies_below_the_wall_with_slope_one() -> None:
    rng_height = torch.rand(65, 65, generator=torch.Generator().manual_seed(1)) * 20
    rng_height[:, -1] = rng_height[:, 0]
    height, _, _, envelope = wall_layers(rng_height, torch.zeros(2, 65, 65), (0.5, 0.5))
    assert (envelope <= height).all()
    assert envelope[::4, ::4].diff(dim=0).abs().max() <= 2.0 + 1e-4


def crossing_tubes() -> Scene:
    """Two tubes of radius 10 that cross at a right angle: along z, and along x."""
    along_z = TubeChart(100.0, STRAIGHT, ())
    turn = torch.tensor([[0.0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]])
    tubes = (along_z, PlacedChart(along_z, turn))
    walls = tuple(wall_of(chart, torch.full((65, 33), 10.0), 1.0) for chart in tubes)
    return Scene(walls, (), torch.zeros(1, 2), torch.eye(4).expand(1, 4, 4))


def test_space_is_free_inside_of_any_tube() -> None:
    scene = crossing_tubes()
    frames = torch.zeros(4, dtype=torch.long)
    points = torch.tensor([[0.0, 0, 0], [0, 0, 50], [50, 0, 0], [50, 0, 50]]).T.contiguous()
    gap, _ = wall_gap(scene, frames)(points, torch.arange(4))
    assert (gap > 0).tolist() == [True, True, True, False]


def test_a_ray_goes_from_one_tube_into_the_other() -> None:
    """Straight down the first tube to its end; sideways it passes the wall that is not there."""
    scene = crossing_tubes()
    aside = torch.tensor([[1.0], [0.0], [0.0]])
    assert cast(scene, [0.0, 0.0, 0.0], aside).item() > 90
    torch.testing.assert_close(cast(scene, [0.0, 0.0, 30.0], aside), torch.tensor([10.0]))


def test_each_point_is_carried_by_the_wall_it_lies_on() -> None:
    points = torch.tensor([[0.0, 10.0, 50.0], [50.0, 10.0, 0.0]]).T.contiguous()
    assert carrier(crossing_tubes(), points, torch.zeros(2, dtype=torch.long)).tolist() == [0, 1]


def test_a_placed_chart_is_the_chart_elsewhere() -> None:
    chart = TubeChart(80.0, 0.02, ((Wave(3.0, 0.05, 0.3), Wave(2.0, 0.07, 1.0)),))
    T = look_at(torch.tensor([3.0, 4.0, 5.0]), torch.tensor([9.0, 0.0, 20.0]), DOWN)
    placed = PlacedChart(chart, T)
    own = torch.tensor([[3.0, 4.0, 30.0], [-6.0, 2.0, -20.0]])
    moved = placed.to_world(own)
    torch.testing.assert_close(moved, transform_points(T, chart.to_world(own)))
    for there, here in zip(
        placed.to_chart(moved.T), chart.to_chart(chart.to_world(own).T), strict=True
    ):
        torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("chart", [TubeChart(80.0, 0.02, ()), PlaneChart(50.0)])
def test_outward_is_the_way_the_height_grows(chart: Chart) -> None:
    points = torch.tensor([[3.0, 4.0, 30.0], [-6.0, 2.0, -20.0]]).T.contiguous()
    u, v, height = chart.to_chart(points)
    u_after, v_after, after = chart.to_chart(points + chart.outward(points))
    torch.testing.assert_close(after, height + 1, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.stack([u_after, v_after]), torch.stack([u, v]))


def test_normals_point_into_free_space() -> None:
    tube = scene_of(TubeChart(100.0, STRAIGHT, ()), torch.full((65, 33), 10.0), 1.0)
    frames = torch.zeros(1, dtype=torch.long)
    point = torch.tensor([[10.0], [0.0], [5.0]])
    inward = normals(wall_gap(tube, frames), point, torch.tensor([0.5]))
    torch.testing.assert_close(inward[:, 0], torch.tensor([-1.0, 0.0, 0.0]), atol=2e-2, rtol=0)
    ball = RoundCone(torch.zeros(1, 3), torch.tensor([[0.0, 0.0, 1.0]]), (5.0, 5.0), PLAIN)
    outward = normals(
        cone_gap(ball, frames), torch.tensor([[5.0], [0.0], [0.5]]), torch.tensor([0.1])
    )
    torch.testing.assert_close(outward[:, 0], torch.tensor([1.0, 0.0, 0.0]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("curvature", [STRAIGHT, 0.02, -0.03])
def test_tube_chart_undoes_its_inverse(curvature: float) -> None:
    waves = ((Wave(3.0, 0.05, 0.3), Wave(2.0, 0.07, 1.0)),)
    chart = TubeChart(80.0, curvature, waves)
    coordinates = torch.tensor([[3.0, 4.0, 30.0], [-6.0, 2.0, -20.0], [0.0, 5.0, 0.0]])
    u, v, height = chart.to_chart(chart.to_world(coordinates).T)
    torch.testing.assert_close(height, coordinates[:, :2].norm(dim=1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(v * 80, coordinates[:, 2], rtol=1e-4, atol=1e-4)
    angle = torch.atan2(coordinates[:, 1], coordinates[:, 0]) / math.pi
    torch.testing.assert_close(u, angle, rtol=1e-3, atol=1e-4)


def test_noise_is_normalised_and_closes_without_a_seam() -> None:
    field = fractal_noise(np.random.default_rng(0), (128, 64), (8, 4), octaves=2)
    assert abs(field.mean()) < 1e-4
    assert abs(field.std() - 1) < 1e-4
    closed = close_seam(field)
    inside = closed.diff(dim=1).abs().max()
    assert closed[:, -2:].diff(dim=1).abs().max() <= inside
