"""Laws of the self-supervised losses."""

from __future__ import annotations

import torch

from endodav.geometry.camera import rigid, rotation_from_axis_angle
from endodav.geometry.warp import sample
from endodav.losses import consistency, photometric, smoothness
from endodav.losses.colour import hsv_to_rgb, rgb_to_hsv

K = torch.tensor([[[40.0, 0.0, 11.5], [0.0, 40.0, 7.5], [0.0, 0.0, 1.0]]])
HEIGHT, WIDTH = 16, 24
EVERYWHERE = torch.ones(2, 1, HEIGHT, WIDTH, dtype=torch.bool)


def image(channels: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((2, channels, HEIGHT, WIDTH), generator=generator)


def wall(depth: float) -> torch.Tensor:
    return torch.full((1, HEIGHT, WIDTH), depth)


def forward_by(distance: float) -> torch.Tensor:
    """The camera moves towards the scene: points come nearer."""
    return rigid(torch.eye(3), torch.tensor([0.0, 0.0, -distance]))[None]


def test_equal_images_have_no_photometric_error() -> None:
    error = photometric.photometric_error(image(), image())
    assert error.shape == (2, 1, HEIGHT, WIDTH)
    torch.testing.assert_close(error, torch.zeros_like(error), atol=1e-4, rtol=0)


def test_photometric_error_is_symmetric_and_at_most_one() -> None:
    x, y = image(seed=1), image(seed=2)
    error = photometric.photometric_error(x, y)
    torch.testing.assert_close(error, photometric.photometric_error(y, x))
    assert error.min() > 0
    assert error.max() <= 1
    opposite = photometric.photometric_error(torch.zeros_like(x), torch.ones_like(x))
    torch.testing.assert_close(opposite, torch.full_like(opposite, 0.575), atol=1e-3, rtol=0)


def test_correlation_sees_through_an_affine_change_of_brightness() -> None:
    x = image(1)
    inside = (..., slice(2, -2), slice(2, -2))  # windows beyond see zeros
    same = photometric.negative_correlation(x, 0.7 - 0.4 * x)[inside]
    torch.testing.assert_close(same, torch.full_like(same, -1.0), atol=0.05, rtol=0)
    assert photometric.negative_correlation(x, image(1, seed=9))[inside].mean() > -0.2


def test_masked_mean_is_of_what_the_mask_keeps() -> None:
    mask = EVERYWHERE.clone()
    mask[1] = False
    values = torch.where(mask, torch.tensor(3.0), torch.tensor(100.0))
    assert photometric.masked_mean(values, mask) == 3
    assert photometric.masked_mean(values, mask & False) == 0


def test_flat_fields_are_smooth() -> None:
    flat = torch.full((2, 3, HEIGHT, WIDTH), 0.5)
    assert smoothness.edge_aware_smoothness(flat, image()) == 0
    assert smoothness.total_variation(flat) == 0
    assert smoothness.appearance_smoothness(flat, image(), image(seed=3), EVERYWHERE) == 0


def test_a_step_costs_less_at_an_edge_of_the_image() -> None:
    step = torch.zeros(2, 1, HEIGHT, WIDTH)
    step[..., WIDTH // 2 :] = 1
    blank, edge = torch.zeros(2, 3, HEIGHT, WIDTH), step.expand(2, 3, HEIGHT, WIDTH)
    free = smoothness.edge_aware_smoothness(step, blank)
    torch.testing.assert_close(free, smoothness.total_variation(step))
    at_edge = smoothness.edge_aware_smoothness(step, edge)
    torch.testing.assert_close(at_edge, free * torch.tensor(-1.0).exp())


def test_normalised_disparity_forgets_its_scale() -> None:
    disparity = image(1) + 0.1
    scaled = disparity * torch.tensor([2.0, 50.0]).view(2, 1, 1, 1)
    torch.testing.assert_close(
        smoothness.mean_normalised(scaled), smoothness.mean_normalised(disparity)
    )


def test_hidden_pixels_do_not_count_for_the_appearance() -> None:
    visible = EVERYWHERE.clone()
    visible[..., WIDTH // 2 :] = False
    change = torch.zeros(2, 3, HEIGHT, WIDTH)
    change[..., WIDTH // 2 + 1 :] = image()[..., WIDTH // 2 + 1 :]
    pair = image(seed=1), image(seed=2)
    assert smoothness.appearance_smoothness(change, *pair, visible) == 0
    assert smoothness.appearance_smoothness(change, *pair, EVERYWHERE) > 0
    assert smoothness.appearance_smoothness(change, *pair, EVERYWHERE & False) == 0


def test_steps_between_regions_belong_to_the_left_one() -> None:
    step = torch.zeros(2, 1, HEIGHT, WIDTH)
    step[..., WIDTH // 2 :] = 1
    blank = torch.zeros(2, 3, HEIGHT, WIDTH)
    labels = step[:, 0].long()
    half = WIDTH // 2  # each region has half the pixels of a row; one step in each row
    torch.testing.assert_close(
        smoothness.region_smoothness(step, blank, labels), torch.tensor(1 / half / 2)
    )
    alone = torch.zeros_like(labels)
    torch.testing.assert_close(
        smoothness.region_smoothness(step, blank, alone), torch.tensor(1 / WIDTH)
    )


def test_tiny_regions_count_as_smooth() -> None:
    field, blank = image(1), torch.zeros(2, 3, HEIGHT, WIDTH)
    labels = torch.zeros(2, HEIGHT, WIDTH, dtype=torch.long)
    labels[0, 0, :9] = 1
    without = field.clone()
    without[0, :, 0, :9] = 5.0  # wild, but nine pixels are too few; only their own steps differ
    kept = smoothness.region_smoothness(field, blank, labels)
    torch.testing.assert_close(smoothness.region_smoothness(without, blank, labels), kept)


def test_light_is_compared_by_the_size_of_its_steps() -> None:
    x, y = image(1), image(1, seed=4)
    assert smoothness.step_difference(x, 0.3 - x, EVERYWHERE) < 1e-6
    assert smoothness.step_difference(x, y, EVERYWHERE) > 0.1
    assert smoothness.step_difference(x, y, EVERYWHERE & False) == 0


def test_mutual_consistency_forgives_strong_shared_edges() -> None:
    step = torch.zeros(2, 1, HEIGHT, WIDTH)
    step[..., WIDTH // 2 :] = 1
    both = smoothness.mutual_consistency(step, step)
    one = smoothness.mutual_consistency(step, torch.zeros_like(step))
    weak = smoothness.mutual_consistency(0.1 * step, torch.zeros_like(step))
    assert both < one < weak


def test_a_wall_seen_from_nearer_is_consistent() -> None:
    far, near, pose = wall(5.0), wall(4.0), forward_by(1.0)
    torch.testing.assert_close(
        consistency.projection_loss(far, near, K, pose), torch.tensor(0.0), atol=1e-5, rtol=0
    )
    off = consistency.projection_loss(far, 1.1 * near, K, pose)
    torch.testing.assert_close(off, torch.tensor(0.4), atol=1e-3, rtol=0)


def test_a_tilted_plane_is_consistent_under_a_general_motion() -> None:
    """Depths of n . X = 6 in both frames, in closed form."""
    pose = rigid(
        rotation_from_axis_angle(torch.tensor([0.02, -0.05, 0.1])), torch.tensor([0.2, -0.1, 0.5])
    )
    normal = torch.tensor([0.1, -0.2, 1.0])
    moved = pose[:3, :3] @ normal
    src, dst = plane(normal, 6.0), plane(moved, 6.0 + float(moved @ pose[:3, 3]))
    error = consistency.reprojection_error(src, dst, K, pose[None])
    assert error.valid.float().mean() > 0.6
    assert error.values[error.valid].max() < 0.01


def plane(normal: torch.Tensor, offset: float) -> torch.Tensor:
    v, u = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    rays = torch.stack([(u - 11.5) / 40, (v - 7.5) / 40, torch.ones(HEIGHT, WIDTH)], dim=-1)
    return (offset / (rays @ normal))[None]


def test_a_relative_error_does_not_fall_when_depth_shrinks() -> None:
    K = torch.tensor([[[20.0, 0, 10], [0, 20, 8], [0, 0, 1]]])
    T = torch.eye(4)[None].clone()
    T[:, 2, 3] = -1.0
    src, dst = torch.full((1, 16, 20), 8.0), torch.full((1, 16, 20), 6.0)
    small = T.clone()
    small[:, :3, 3] *= 0.1
    whole = consistency.reprojection_error(src, dst, K, T)
    shrunk = consistency.reprojection_error(0.1 * src, 0.1 * dst, K, small)
    torch.testing.assert_close(shrunk.mean(), 0.1 * whole.mean())
    torch.testing.assert_close(shrunk.relative(), whole.relative())
    torch.testing.assert_close(whole.relative(), torch.tensor(1 / 13))  # |7 - 6| / (7 + 6)


def test_the_released_program_counts_the_blended_border() -> None:
    pair = wall(5.0), wall(4.0), K, forward_by(1.0)
    ours = consistency.reprojection_error(*pair)
    released = consistency.reprojection_error(*pair, as_released=True)
    assert not (ours.valid & ~released.valid).any()
    assert released.mean() > 0.1 > ours.mean()


def test_points_behind_or_outside_do_not_count() -> None:
    behind = consistency.reprojection_error(wall(5.0), wall(4.0), K, forward_by(6.0))
    assert not behind.valid.any()
    assert behind.mean() == 0
    aside = rigid(torch.eye(3), torch.tensor([100.0, 0.0, 0.0]))[None]
    assert not consistency.reprojection_error(wall(5.0), wall(5.0), K, aside).valid.any()


def test_depth_moved_by_flow_is_compared_where_it_came_to() -> None:
    ramp = torch.arange(1.0, WIDTH + 1).expand(1, HEIGHT, WIDTH)
    flow = torch.zeros(1, 2, HEIGHT, WIDTH)
    flow[:, 0] = 2
    error = consistency.flow_depth_error(ramp, ramp - 2, flow)
    torch.testing.assert_close(error.mean(), torch.tensor(0.0), atol=1e-4, rtol=0)
    assert error.valid[..., :-2].all()
    assert not error.valid[..., -2:].any()


def test_gradients_reach_depth_and_motion() -> None:
    depth = wall(5.0).requires_grad_()
    vector = torch.zeros(6, requires_grad=True)
    pose = rigid(rotation_from_axis_angle(vector[:3]), vector[3:])[None]
    consistency.projection_loss(depth, wall(4.0), K, pose).backward()
    for leaf in (depth, vector):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        assert leaf.grad.any()


def test_without_structure_only_colour_counts() -> None:
    x, y = image(seed=1), image(seed=2)
    error = photometric.photometric_error(x, y, ssim_share=0.0)
    torch.testing.assert_close(error, (x - y).abs().mean(dim=1, keepdim=True))


def test_hue_saturation_and_value_keep_all_of_a_colour() -> None:
    rgb = image(seed=4)
    rgb[0, :, 0, :3] = torch.tensor([[0.0, 1.0, 0.5]] * 3)  # black, white and grey
    hsv = rgb_to_hsv(rgb)
    assert hsv.min() >= 0
    assert hsv.max() <= 1
    torch.testing.assert_close(hsv_to_rgb(hsv), rgb, rtol=0, atol=1e-6)
    whole_turn = torch.cat([hsv[:, :1] + 1, hsv[:, 1:]], dim=1)
    torch.testing.assert_close(hsv_to_rgb(whole_turn), rgb, rtol=0, atol=1e-5)
    red = torch.tensor([0.8, 0.2, 0.2]).view(1, 3, 1, 1)
    turned = rgb_to_hsv(red) + torch.tensor([1 / 3, 0, 0]).view(1, 3, 1, 1)
    torch.testing.assert_close(hsv_to_rgb(turned), red.roll(1, dims=1))


def test_a_coordinate_that_is_no_number_is_outside() -> None:
    """Going back from it used to end the process."""
    pixels = torch.full((2, HEIGHT, WIDTH, 2), float("nan"))
    pixels[1] = float("inf")
    images = image().requires_grad_()
    found = sample(images, pixels.requires_grad_(), "zeros")
    assert not found.any()
    found.sum().backward()
    assert images.grad is not None
    assert not images.grad.any()
