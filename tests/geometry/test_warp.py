"""Laws of warping and visibility."""

from __future__ import annotations

import doctest

import torch
from hypothesis import given
from hypothesis import strategies as st

from endodav.geometry import camera, warp

K = torch.tensor([[[40.0, 0.0, 12.0], [0.0, 36.0, 8.0], [0.0, 0.0, 1.0]]])
STILL = torch.eye(4)[None]
HEIGHT, WIDTH = 16, 24


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def constant_flow(x: float, y: float) -> torch.Tensor:
    return torch.tensor([float(x), float(y)]).view(1, 2, 1, 1).expand(1, 2, HEIGHT, WIDTH)


def motion(rotation: list[float], translation: list[float]) -> torch.Tensor:
    return camera.rigid(
        camera.rotation_from_axis_angle(torch.tensor(rotation)), torch.tensor(translation)
    )


def test_documented_examples_hold() -> None:
    result = doctest.testmod(warp, extraglobs={"torch": torch})
    assert result.attempted >= 4
    assert result.failed == 0


def test_every_item_of_a_batch_has_its_own_camera() -> None:
    """The same as the functions of one camera, item by item."""
    depth = 1 + noise(2, HEIGHT, WIDTH)
    intrinsics = torch.cat([K, K * torch.tensor([2.0, 0.5, 1.0])[:, None]])
    poses = torch.stack(
        [motion([0.1, -0.2, 0.05], [0.1, 0.2, 0.3]), motion([0.0, 0.1, 0.0], [0.0, -0.1, 0.2])]
    )
    points = warp.backproject(depth, intrinsics)
    seen = warp.project(points, intrinsics, poses)
    grid = camera.pixel_grid(HEIGHT, WIDTH)
    for item in range(2):
        alone = camera.unproject(grid, depth[item], intrinsics[item])
        torch.testing.assert_close(points[item], alone)
        pixels, z = camera.project(camera.transform_points(poses[item], alone), intrinsics[item])
        torch.testing.assert_close(seen.pixels[item], pixels, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(seen.depth[item], z)


def test_a_still_camera_sees_no_flow() -> None:
    flow = warp.rigid_flow(1 + noise(1, HEIGHT, WIDTH), K, STILL)
    torch.testing.assert_close(flow, torch.zeros(1, 2, HEIGHT, WIDTH), atol=1e-5, rtol=0)


def test_flow_of_a_wall_is_focal_length_times_motion_over_depth() -> None:
    depth = torch.full((1, HEIGHT, WIDTH), 4.0)
    flow = warp.rigid_flow(depth, K, motion([0.0, 0.0, 0.0], [0.2, 0.1, 0.0])[None])
    wanted = constant_flow(40 * 0.2 / 4, 36 * 0.1 / 4)
    torch.testing.assert_close(flow, wanted, atol=1e-5, rtol=0)


@given(x=st.integers(-5, 5), y=st.integers(-5, 5))
def test_whole_pixels_of_flow_shift_the_image(x: int, y: int) -> None:
    image = noise(1, 3, HEIGHT, WIDTH)
    warped = warp.warp_by_flow(image, constant_flow(x, y), "zeros")
    rows = slice(max(0, -y), HEIGHT - max(0, y))
    columns = slice(max(0, -x), WIDTH - max(0, x))
    shifted = image.roll((-y, -x), (2, 3))
    torch.testing.assert_close(
        warped[..., rows, columns], shifted[..., rows, columns], atol=1e-4, rtol=0
    )
    outside = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    outside[rows, columns] = False
    assert (warped[..., outside].abs() < 1e-4).all()


@given(seed=st.integers(0, 1000))
def test_no_share_of_a_pixel_is_lost_inside(seed: int) -> None:
    flow = torch.zeros(1, 2, HEIGHT, WIDTH)
    flow[..., 4:-4, 4:-4] = 6 * noise(1, 2, HEIGHT - 8, WIDTH - 8, seed=seed) - 3
    torch.testing.assert_close(
        warp.splat_coverage(flow).sum(), torch.tensor(float(HEIGHT * WIDTH)), atol=1e-2, rtol=0
    )


def test_what_nothing_flows_to_is_hidden() -> None:
    assert warp.visible_mask(constant_flow(0.0, 0.0)).all()
    visible = warp.visible_mask(constant_flow(3.0, 0.0))[0]
    assert not visible[:, :3].any()
    assert visible[:, 3:].all()


def test_coverage_must_be_above_the_minimum() -> None:
    half = constant_flow(0.5, 0.0)
    assert not warp.visible_mask(half, minimum=0.5)[0, :, 0].any()
    assert warp.visible_mask(half, minimum=0.4999)[0, :, 0].all()


def test_there_and_back_again() -> None:
    forward, back = constant_flow(2.0, -1.0), constant_flow(-2.0, 1.0)
    torch.testing.assert_close(
        warp.forward_backward_error(forward, back), torch.zeros(1, 2, HEIGHT, WIDTH)
    )
    error = warp.forward_backward_error(forward, constant_flow(0.0, 0.0))
    torch.testing.assert_close(error, constant_flow(2.0, 1.0).contiguous())


def test_gradients_are_finite_without_motion() -> None:
    """Training starts at the identity, where the axis of the rotation is undefined."""
    vector = torch.zeros(6, requires_grad=True)
    depth = (1 + noise(1, HEIGHT, WIDTH)).requires_grad_()
    T = camera.rigid(camera.rotation_from_axis_angle(vector[:3]), vector[3:])
    seen = warp.project(warp.backproject(depth, K), K, T[None])
    warp.sample(noise(1, 3, HEIGHT, WIDTH), seen.pixels).square().sum().backward()
    assert vector.grad is not None
    assert depth.grad is not None
    assert vector.grad.isfinite().all()
    assert (vector.grad != 0).all()
    assert depth.grad.isfinite().all()
