"""The losses of a clip as a whole, against closed forms and a plain NumPy version."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from endodav.losses.supervised import (
    THRESHOLD,
    fit_scale_and_shift,
    temporal_gradient_matching,
)
from endodav.losses.video import (
    FLOW_TERMS,
    VIDEO_TERMS,
    stable_error,
    video_alignment,
    video_term,
    warped_difference,
)

SHAPE = (2, 4, 8, 10)


def clips(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Prediction, target (both positive) and mask."""
    generator = torch.Generator().manual_seed(seed)
    prediction, target = (torch.rand(SHAPE, generator=generator) + 0.1 for _ in range(2))
    return prediction, target, torch.rand(SHAPE, generator=generator) < 0.7


def moving(shift: int) -> Tensor:
    """A pattern that moves `shift` pixels to the right in each frame."""
    pattern = torch.rand(1, 1, 8, 30, generator=torch.Generator().manual_seed(0))
    frames = [pattern[..., 15 - shift * t : 25 - shift * t] for t in range(4)]
    return torch.cat(frames, dim=1)


def flow_of(shift: int) -> Tensor:
    return torch.tensor([shift, 0.0])[None, None, :, None, None].expand(1, 3, 2, 8, 10)


def test_video_alignment_is_its_numpy_version() -> None:
    prediction, target, _ = clips(0)
    everywhere = torch.ones(SHAPE, dtype=torch.bool)

    def aligned(values: Tensor) -> np.ndarray:
        flat = values.double().numpy().reshape(len(values), -1)
        middle = np.sort(flat, axis=1)[:, (flat.shape[1] - 1) // 2, None]
        return (flat - middle) / np.abs(flat - middle).mean(axis=1, keepdims=True)

    expected = np.abs(aligned(prediction) - aligned(target)).mean()
    assert video_alignment(prediction, target, everywhere) == pytest.approx(expected, rel=1e-5)


def test_video_alignment_gives_a_clip_one_scale() -> None:
    _, target, mask = clips(1)
    mask = torch.ones_like(mask)
    assert video_alignment(3 * target + 1, target, mask) < 1e-5
    factors = torch.tensor([1.0, 2.0, 1.0, 3.0])[None, :, None, None]
    assert video_alignment(factors * target, target, mask) > 0.1


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_what_follows_the_flow_does_not_change(shift: int) -> None:
    target = moving(shift)
    mask = torch.ones_like(target, dtype=torch.bool)
    assert warped_difference(target, target, mask, flow_of(shift)) < 1e-6
    assert stable_error(target, target, mask, flow_of(shift)) < 1e-6
    flicker = target + 0.1 * torch.tensor([0.0, 1.0, 0.0, 1.0])[None, :, None, None]
    for loss in (warped_difference, stable_error):
        assert loss(flicker, target, mask, flow_of(shift)) == pytest.approx(0.1, rel=1e-4)


def test_only_the_stable_error_lets_the_scene_come_closer() -> None:
    target = moving(0) + 0.01 * torch.arange(4.0)[None, :, None, None]
    mask = torch.ones_like(target, dtype=torch.bool)
    assert stable_error(target, target, mask, flow_of(0)) < 1e-6
    assert warped_difference(target, target, mask, flow_of(0)) == pytest.approx(0.01, rel=1e-4)


def test_without_motion_the_stable_error_is_temporal_gradient_matching() -> None:
    prediction, target, mask = clips(2)
    target = target[:, :1] + 0.01 * target
    still = torch.zeros(2, 3, 2, *SHAPE[2:])
    expected = temporal_gradient_matching(prediction, target, mask, strides=1, trim=0.0)
    assert stable_error(prediction, target, mask, still) == pytest.approx(expected.item(), rel=0.1)


def test_what_leaves_the_image_or_is_hidden_does_not_count() -> None:
    target = moving(2)
    mask = torch.ones_like(target, dtype=torch.bool)
    spoiled = target.clone()
    spoiled[:, 0, :, -2:] += 5  # flows out to the right
    spoiled[:, -1, :, :2] += 5  # comes in from the left
    assert stable_error(spoiled, target, mask, flow_of(2)) < 1e-6
    jump = target.clone()
    jump[:, 2] += 100
    assert warped_difference(jump, jump, mask, flow_of(2)) < 1e-5


@pytest.mark.parametrize("name", VIDEO_TERMS)
def test_every_term_is_blind_to_scale_and_shift_and_to_what_is_masked(name: str) -> None:
    prediction, target, mask = clips(3)
    flow = torch.zeros(2, 3, 2, *SHAPE[2:]) if name in FLOW_TERMS else None
    target = target[:, :1] + 0.02 * target
    everywhere = torch.ones_like(mask)
    before = video_term(name, prediction, target, everywhere, flow)
    after = video_term(name, 4 * prediction + 2, target, everywhere, flow)
    assert torch.allclose(before, after, rtol=1e-3, atol=1e-6)
    assert (before > 0) == (name != "ssi")
    prediction.requires_grad_()
    (video_term(name, prediction, target, mask, flow) + 0 * prediction.sum()).backward()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()
    assert prediction.grad[~mask].abs().max() < 1e-9


@pytest.mark.parametrize("name", VIDEO_TERMS)
def test_nothing_valid_gives_zero(name: str) -> None:
    prediction, target, mask = clips(4)
    flow = torch.zeros(2, 3, 2, *SHAPE[2:])
    assert video_term(name, prediction, target, torch.zeros_like(mask), flow) == 0


def test_terms_fit_the_clip_first() -> None:
    prediction, target, mask = clips(5)
    scale, shift = (x[:, None, None, None] for x in fit_scale_and_shift(prediction, target, mask))
    expected = temporal_gradient_matching(
        scale * prediction + shift, target, mask, strides=1, trim=0.0
    )
    assert video_term("tgm", prediction, target, mask, None) == expected


@pytest.mark.parametrize("name", ["tgm", "se"])
def test_a_higher_threshold_counts_what_changes_much(name: str) -> None:
    flow = torch.zeros(2, 3, 2, *SHAPE[2:])
    _, target, mask = clips(6)
    spread = target[:, :1] / target.amax()
    target = spread * torch.tensor([1.0, 2.0, 4.0, 8.0])[None, :, None, None] + 1
    still = spread.expand_as(target)
    everywhere = torch.ones_like(mask)
    barely, wholly = (
        video_term(name, still, target, everywhere, flow, threshold=threshold)
        for threshold in (THRESHOLD, 2.0)
    )
    assert barely < 0.1 * wholly
    assert video_term(name, target, target, everywhere, flow, threshold=2.0) < 1e-5
