"""Direct alignment finds the motion that made the images, and does no harm where it cannot."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from endodav.geometry.camera import intrinsics_from_fov, rigid, rotation_from_axis_angle
from endodav.geometry.motion import Alignment, align, pyramid
from endodav.geometry.warp import backproject, project, sample

SIZE = 60, 80
PAIRS = 3


def smooth(channels: int, rows: int, columns: int, seed: int) -> Tensor:
    """Random hills of several sizes, 0..1."""
    generator = torch.Generator().manual_seed(seed)
    hills = torch.zeros(PAIRS, channels, *SIZE)
    for scale in (1, 2, 4):
        noise = torch.rand(PAIRS, channels, rows * scale, columns * scale, generator=generator)
        hills += F.interpolate(noise, SIZE, mode="bicubic", align_corners=True) / scale
    return (hills - hills.amin()) / (hills.amax() - hills.amin())


NEIGHBOUR = smooth(3, 6, 8, seed=0)
DEPTH = 2 + 3 * smooth(1, 3, 4, seed=1)[:, 0]
K = intrinsics_from_fov(*SIZE, 70.0).expand(PAIRS, 3, 3)
MOTION = rigid(
    rotation_from_axis_angle(
        torch.tensor([[0.02, -0.03, 0.05], [0.0, 0.05, 0.0], [-0.03, 0.0, -0.02]])
    ),
    torch.tensor([[0.1, 0.0, 0.3], [0.0, 0.0, 0.0], [-0.2, 0.1, -0.1]]),
)
STILL = torch.eye(4).expand(PAIRS, 4, 4)
EVERYWHERE = torch.ones(PAIRS, 1, *SIZE, dtype=torch.bool)
TARGET = sample(NEIGHBOUR, project(backproject(DEPTH, K), K, MOTION).pixels)


def found(
    target: Tensor = TARGET,
    neighbour: Tensor = NEIGHBOUR,
    depth: Tensor = DEPTH,
    usable: Tensor = EVERYWHERE,
) -> Alignment:
    images = pyramid(target, neighbour, depth, target_usable=usable, neighbour_usable=EVERYWHERE)
    return align(images, K)


def test_the_motion_that_made_the_images_is_found() -> None:
    result = found()
    assert torch.allclose(result.T_neighbour_from_target, MOTION, atol=5e-3)
    assert (result.error < 0.25).all()


def test_light_that_comes_along_hardly_matters() -> None:
    light = torch.linspace(0.4, 0.6, SIZE[1])
    assert torch.allclose(
        found(target=TARGET * light + 0.1).T_neighbour_from_target, MOTION, atol=2e-2
    )


def test_images_are_compared_at_no_more_than_the_finest_size() -> None:
    image, depth = torch.rand(1, 3, 96, 120), torch.ones(1, 96, 120)
    usable = torch.ones(1, 1, 96, 120, dtype=torch.bool)

    def sizes(finest: int) -> list[tuple[int, ...]]:
        images = pyramid(
            image, image, depth, target_usable=usable, neighbour_usable=usable, finest=finest
        )
        return [tuple(level.depth.shape[-2:]) for level in images.levels]

    assert sizes(96) == [(12, 15), (24, 30), (48, 60), (96, 120)]
    assert sizes(95) == [(12, 15), (24, 30), (48, 60)]


def test_the_translation_has_the_unit_of_depth() -> None:
    plain, scaled = found().T_neighbour_from_target, found(depth=1024 * DEPTH)
    assert torch.allclose(scaled.T_neighbour_from_target[:, :3, :3], plain[:, :3, :3], atol=1e-4)
    assert torch.allclose(
        scaled.T_neighbour_from_target[:, :3, 3] / 1024, plain[:, :3, 3], atol=1e-3
    )


def test_what_may_not_be_used_does_not_count() -> None:
    hidden = EVERYWHERE.clone()
    hidden[:, :, :, :30] = False
    spoilt = torch.where(hidden, TARGET, torch.rand(SIZE))
    result = found(target=spoilt, usable=hidden)
    assert torch.allclose(result.T_neighbour_from_target, MOTION, atol=1e-2)


def test_where_there_is_nothing_to_see_the_camera_stands_still() -> None:
    hidden = found(usable=EVERYWHERE & False)
    assert hidden.error.isinf().all()
    flat = found(target=TARGET * 0, neighbour=NEIGHBOUR * 0)
    for result in (hidden, flat):
        torch.testing.assert_close(result.T_neighbour_from_target, STILL)
