"""Least squares, clamp and cross-fade."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from endodav.errors import AlignmentWarning
from endodav.inference.alignment import (
    Affine,
    Estimate,
    Moments,
    cross_fade,
    guarded_fit,
    least_squares,
    moments,
)


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_the_fit_is_numpys():
    x, y = rand(6, 7), rand(6, 7, seed=1) + rand(6, 7)
    fit = least_squares(moments(x, y))
    want = np.polyfit(x.double().flatten().numpy(), y.double().flatten().numpy(), 1)
    np.testing.assert_allclose([fit.scale, fit.shift], want, rtol=1e-5)


def test_moments_of_frames_add_up():
    x, y = rand(4, 5, 6), rand(4, 5, 6, seed=1)
    parts = sum((moments(a, b) for a, b in zip(x, y, strict=True)), Moments())
    whole = moments(x.flatten(0, 1), y.flatten(0, 1))
    fits = [least_squares(m) for m in (parts, whole)]
    assert fits[0].scale == pytest.approx(fits[1].scale, rel=1e-9)
    assert fits[0].shift == pytest.approx(fits[1].shift, rel=1e-9)


def test_sums_do_not_lose_small_pixels_among_many():
    x = torch.full((2000, 2000), 0.1)
    assert moments(x, x).x == pytest.approx(4e6 * float(x[0, 0]), rel=1e-12)


def test_a_good_fit_is_not_touched():
    m = moments(rand(5, 5), rand(5, 5) * 2 + 1)
    assert guarded_fit(m) == least_squares(m)


@pytest.mark.parametrize(
    ("x", "y", "want"),
    [
        (torch.full((3, 3), 2.0), rand(3, 3) + 1.0, None),  # flat: scale is undetermined
        (rand(3, 3), 1.0 - rand(3, 3), None),  # inside out: scale is negative
        (torch.zeros(3, 3), torch.full((3, 3), 0.5), Affine(1.0, 0.5)),
        (rand(3, 3), torch.full((3, 3), 0.5), None),  # scale is zero
    ],
)
def test_a_destructive_fit_is_replaced_and_said(
    x: torch.Tensor, y: torch.Tensor, want: Affine | None
):
    with pytest.warns(AlignmentWarning, match="mean depth was matched"):
        fit = guarded_fit(moments(x, y))
    assert fit.scale > 0
    assert fit.scale * float(x.mean()) + fit.shift == pytest.approx(float(y.mean()), rel=1e-5)
    if want is not None:
        assert fit == want


def test_the_official_rule_leaves_a_negative_scale():
    assert least_squares(moments(rand(3, 3), 1.0 - rand(3, 3))).scale == pytest.approx(-1.0)


def test_cross_fade_ends_are_inclusive():
    earlier, later = rand(2, 2), rand(2, 2, seed=1)
    assert torch.equal(cross_fade(earlier, later, 0.0), earlier)
    assert torch.equal(cross_fade(earlier, later, 1.0), later)


def test_alignment_is_done_at_full_size_before_the_clamp():
    values = torch.tensor([[0.0, 1.0]])
    got = Estimate(values, Affine(2.0, -1.0)).at((1, 5))
    assert torch.allclose(got, torch.tensor([[0.0, 0.0, 0.0, 0.5, 1.0]]))


def test_a_kept_estimate_does_not_hold_its_window():
    window = rand(32, 4, 4)
    kept = Estimate(window[3]).kept()
    assert kept.values.untyped_storage().nbytes() == 4 * 4 * 4
    assert torch.equal(kept.values, window[3])
