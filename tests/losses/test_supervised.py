"""Laws of the supervised losses; their exact values are golden item 07."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from endodav.losses.supervised import (
    LOG_FLOOR,
    fit_scale_and_shift,
    gradient_matching,
    log_error,
    normalise,
    scale_drift,
    spatial_loss,
    temporal_gradient_matching,
    trimmed_absolute_error,
    video_depth_loss,
)

SHAPE = (2, 4, 10, 12)


def clips(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Prediction, target (both positive) and mask."""
    generator = torch.Generator().manual_seed(seed)
    prediction, target = (torch.rand(SHAPE, generator=generator) + 0.1 for _ in range(2))
    return prediction, target, torch.rand(SHAPE, generator=generator) < 0.7


def test_normalise_gives_zero_median_and_unit_deviation_where_all_is_valid() -> None:
    values = clips(0)[0].flatten(0, 1)
    normalised = normalise(values, torch.ones_like(values, dtype=torch.bool)).values
    assert torch.allclose(normalised.flatten(1).median(dim=1).values, torch.zeros(8), atol=1e-6)
    assert torch.allclose(normalised.abs().mean(dim=(1, 2)), torch.ones(8))


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(0.1, 10), shift=st.floats(-5, 5), seed=st.integers(0, 100))
def test_fit_recovers_scale_and_shift(scale: float, shift: float, seed: int) -> None:
    prediction, _, mask = (x.double() if x.is_floating_point() else x for x in clips(seed))
    fitted = fit_scale_and_shift(prediction, scale * prediction + shift, mask)
    assert fitted[0].tolist() == pytest.approx([scale] * 2)
    assert fitted[1].tolist() == pytest.approx([shift] * 2, abs=1e-9)


def test_fit_of_a_constant_or_of_nothing_is_zero() -> None:
    constant, target = torch.ones(2, 3, 4), torch.rand(2, 3, 4)
    mask = torch.stack([torch.ones(3, 4), torch.zeros(3, 4)]).bool()
    scale, shift = fit_scale_and_shift(constant, target, mask)
    assert scale.tolist() == shift.tolist() == [0, 0]


@pytest.mark.parametrize(("scale", "shift"), [(3.0, 0.0), (0.2, 1.5)])
def test_loss_is_blind_to_scale_and_shift(scale: float, shift: float) -> None:
    prediction, target, _ = clips(1)
    mask = torch.ones_like(target, dtype=torch.bool)
    before = video_depth_loss(prediction, target, mask)
    after = video_depth_loss(scale * prediction + shift, target, mask)
    assert torch.allclose(torch.stack(before), torch.stack(after), rtol=1e-4)
    assert video_depth_loss(scale * target + shift, target, mask).total < 1e-4


def test_log_error_is_blind_to_scale_but_not_to_shift() -> None:
    prediction, target, mask = clips(2)
    error = log_error(prediction, target, mask)
    assert torch.allclose(log_error(7 * prediction, target, mask), error, rtol=1e-4)
    assert log_error(0.3 * target, target, mask) < 1e-6
    assert log_error(target + 0.5, target, mask) > 0.05


def test_log_error_can_ask_for_edges() -> None:
    target = torch.ones(1, 1, 8, 8)
    target[..., 4:] = 4.0
    blurred = torch.nn.functional.avg_pool2d(target[0], 3, 1, 1, count_include_pad=False)[None]
    mask = torch.ones_like(target, dtype=torch.bool)
    plain = log_error(blurred, target, mask)
    asked = log_error(blurred, target, mask, gradient_weight=2.0, scales=1)
    logs = [(x / x.mean() + LOG_FLOOR).log() for x in (blurred, target)]
    missing = (logs[0] - logs[1])[0].diff(dim=2).abs().sum() / 64  # no gradient from row to row
    assert torch.allclose(asked, plain + 2 * missing, rtol=1e-4)
    assert log_error(3 * target, target, mask, gradient_weight=2.0) < 1e-6


def test_scale_drift_is_the_factor_that_clips_have_in_common() -> None:
    prediction, _, mask = clips(5)
    means = [float(clip[valid].mean()) for clip, valid in zip(prediction, mask, strict=True)]
    common = math.sqrt(means[0] * means[1])
    assert scale_drift(prediction / common, mask) < 1e-10
    assert scale_drift(100 * prediction / common, mask).item() == pytest.approx(math.log(100) ** 2)
    apart = torch.tensor([0.2, 5.0])[:, None, None, None]
    assert scale_drift(apart * prediction / common, mask) < 1e-10


def test_what_is_masked_has_no_gradient() -> None:
    prediction, target, mask = clips(3)
    prediction.requires_grad_()
    (
        video_depth_loss(prediction, target, mask).total
        + log_error(prediction, target, mask, gradient_weight=1.0)
        + scale_drift(prediction, mask)
    ).backward()
    assert prediction.grad is not None
    # The median may be the zero of an invalid pixel, which has no gradient either.
    assert prediction.grad[~mask].abs().max() == 0
    assert prediction.grad[mask].abs().max() > 0


@pytest.mark.parametrize("frames", [1, 4])
def test_no_valid_pixel_gives_zero_and_finite_gradients(frames: int) -> None:
    prediction, target, mask = (x[:, :frames] for x in clips(4))
    prediction = prediction.clone().requires_grad_()
    nothing = torch.zeros_like(mask)
    total = video_depth_loss(prediction, target, nothing).total
    total = total + log_error(prediction, target, nothing, gradient_weight=1.0)
    total = total + scale_drift(prediction, nothing)
    total.backward()
    assert total == 0
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()


def test_trimming_leaves_the_largest_residuals_out() -> None:
    prediction = torch.tensor([1.0, 2.0, 3.0, 4.0, 100.0])
    mask = torch.ones(5, dtype=torch.bool)
    error = trimmed_absolute_error(prediction, torch.zeros(5), mask, trim=0.2)
    assert error == pytest.approx((1 + 2 + 3 + 4) / 5)


def test_gradients_do_not_cross_frames() -> None:
    steps = torch.arange(3.0)[None, :, None, None].expand(1, 3, 8, 8)
    mask = torch.ones_like(steps, dtype=torch.bool)
    assert gradient_matching(steps, torch.zeros_like(steps), mask, scales=3) == 0


def test_frames_of_one_item_share_their_scale() -> None:
    target = clips(5)[1]
    mask = torch.ones_like(target, dtype=torch.bool)
    factors = torch.tensor([1.0, 2.0, 1.0, 3.0])[None, :, None, None]
    single = [x.flatten(0, 1).unsqueeze(1) for x in (factors * target, target, mask)]
    assert spatial_loss(*single, trim=0.0) < 1e-4
    assert spatial_loss(factors * target, target, mask, trim=0.0) > 0.1


def test_temporal_loss_ignores_large_changes_of_the_target() -> None:
    target = clips(6)[1].cumsum(dim=3)  # a wide range within each frame
    mask = torch.ones_like(target, dtype=torch.bool)
    still = target[:, :1].expand_as(target).contiguous()
    flicker = still + 0.1 * torch.tensor([0.0, 1.0, 0.0, 1.0])[None, :, None, None]
    assert temporal_gradient_matching(still, still, mask) == 0
    loss = temporal_gradient_matching(flicker, still, mask, strides=1, trim=0.0)
    assert loss == pytest.approx(0.1, 1e-3)
    jump = still + 100 * torch.arange(4.0)[None, :, None, None]
    assert temporal_gradient_matching(flicker, jump, mask) == 0
