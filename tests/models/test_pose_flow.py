"""The networks of self-supervision, beyond the numbers that the goldens hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from endodav.models.flow import (
    PyramidDecoder,
    appearance_flow_decoder,
    disparity_decoder,
    optical_flow_decoder,
)
from endodav.models.pose import IntrinsicsHead, PoseDecoder
from endodav.models.resnet import WIDTHS, ResNet18


def images(count: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand((2, 3 * count, height, width), generator=generator)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_encoder_halves_five_times(count: int) -> None:
    maps = ResNet18(count)(images(count, 64, 96))
    assert [m.shape for m in maps] == [
        (2, width, 64 >> level, 96 >> level) for level, width in enumerate(WIDTHS, start=1)
    ]


@pytest.mark.parametrize(
    ("build", "channels", "low", "high"),
    [
        (optical_flow_decoder, 2, -1e9, 1e9),
        (appearance_flow_decoder, 3, -1, 1),
        (disparity_decoder, 1, 0, 1),
    ],
)
def test_decoders_give_four_scales_in_range(
    build: Callable[[], PyramidDecoder], channels: int, low: float, high: float
) -> None:
    scales = build()(ResNet18(2)(images(2, 64, 96)))
    assert [s.shape for s in scales] == [(2, channels, 64 >> s, 96 >> s) for s in range(4)]
    assert all(low <= s.min() and s.max() <= high for s in scales)


def test_sides_need_not_be_multiples_of_32() -> None:
    scales = disparity_decoder()(ResNet18(1)(images(1, 70, 98)))
    assert [s.shape[2:] for s in scales] == [(70, 98), (35, 49), (18, 25), (9, 13)]


def test_training_starts_almost_without_motion() -> None:
    maps = ResNet18(2)(images(2, 64, 96))
    assert all(flow.abs().max() < 0.01 for flow in optical_flow_decoder()(maps))
    motion = PoseDecoder()(maps[-1])
    assert motion.axis_angle.shape == motion.translation.shape == (2, 2, 3)
    assert motion.axis_angle.abs().max() < 0.01
    assert motion.translation.abs().max() < 0.01


def test_intrinsics_follow_the_size_of_the_image() -> None:
    head, feature = IntrinsicsHead(), torch.randn(2, 256, 2, 3)
    small, large = head(feature, (64, 96)), head(feature, (128, 288))
    torch.testing.assert_close(large[:, 0], 3 * small[:, 0])
    torch.testing.assert_close(large[:, 1], 2 * small[:, 1])
    assert (small[:, 0, 0] > 48).all()
    assert (small[:, 1, 1] > 32).all()
    torch.testing.assert_close(small[:, 2], torch.tensor([[0.0, 0.0, 1.0]]).expand(2, 3))


def test_every_parameter_learns() -> None:
    encoder, pose, head = ResNet18(2), PoseDecoder(), IntrinsicsHead()
    decoders = [optical_flow_decoder(), appearance_flow_decoder(), disparity_decoder()]
    maps = encoder(images(2, 64, 96))
    motion = pose(maps[-1])
    loss = motion.axis_angle.sum() + motion.translation.sum()
    loss = loss + head(motion.feature, (64, 96)).sum()
    for decoder in decoders:
        loss = loss + sum(s.square().sum() for s in decoder(maps))
    loss.backward()
    for network in (encoder, pose, head, *decoders):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name
