"""Laws of the camera functions."""

import doctest

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from endodav.geometry import camera

angles = st.floats(-3, 3)
lengths = st.floats(-100, 100)


def random_motion(rotation: tuple[float, ...], translation: tuple[float, ...]) -> torch.Tensor:
    return camera.rigid(
        camera.rotation_from_axis_angle(torch.tensor(rotation)), torch.tensor(translation)
    )


def test_documented_examples_hold() -> None:
    result = doctest.testmod(camera, extraglobs={"torch": torch})
    assert result.attempted > 8
    assert result.failed == 0


@settings(deadline=None, max_examples=25)
@given(
    u=st.floats(-0.5, 639.5),
    v=st.floats(-0.5, 479.5),
    depth=st.floats(0.5, 300),
    fov=st.floats(30, 140),
)
def test_projecting_what_was_unprojected_gives_it_back(
    u: float, v: float, depth: float, fov: float
) -> None:
    intrinsics = camera.intrinsics_from_fov(480, 640, fov)
    pixel, z = torch.tensor([u, v]), torch.tensor(depth)
    back, z_back = camera.project(camera.unproject(pixel, z, intrinsics), intrinsics)
    torch.testing.assert_close(back, pixel, atol=1e-2, rtol=0)
    torch.testing.assert_close(z_back, z)


def test_image_edges_lie_at_the_field_of_view() -> None:
    intrinsics = camera.intrinsics_from_fov(100, 200, 90.0)
    left = camera.unproject(torch.tensor([-0.5, 49.5]), torch.tensor(1.0), intrinsics)
    torch.testing.assert_close(left, torch.tensor([-1.0, 0.0, 1.0]))


@settings(deadline=None, max_examples=25)
@given(rotation=st.tuples(angles, angles, angles), translation=st.tuples(lengths, lengths, lengths))
def test_inverse_undoes_a_motion(
    rotation: tuple[float, ...], translation: tuple[float, ...]
) -> None:
    T_a_from_b = random_motion(rotation, translation)
    points = torch.tensor([[1.0, 2.0, 3.0], [-4.0, 5.0, 60.0]])
    moved = camera.transform_points(T_a_from_b, points)
    back = camera.transform_points(camera.invert(T_a_from_b), moved)
    torch.testing.assert_close(back, points, atol=1e-3, rtol=1e-4)
    rigid_distance = (moved[0] - moved[1]).norm()
    torch.testing.assert_close(rigid_distance, (points[0] - points[1]).norm())


def test_look_at_puts_the_target_on_the_optical_axis() -> None:
    position, target = torch.tensor([1.0, -2.0, 3.0]), torch.tensor([7.0, 4.0, -5.0])
    T = camera.look_at(position, target, torch.tensor([0.0, 1.0, 0.0]))
    seen = camera.transform_points(camera.invert(T), target)
    torch.testing.assert_close(seen[:2], torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen[2], (target - position).norm())
    torch.testing.assert_close(torch.linalg.det(T), torch.tensor(1.0))
