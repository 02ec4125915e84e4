"""Laws of the alignment, and the known floors on SimCol3D."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from endodav.errors import InputError
from endodav.evaluation.protocols import (
    align_by_least_squares,
    depth_from_inverse,
    per_frame_least_squares_in_depth,
)
from endodav.evaluation.simcol import read_simcol
from endodav.types import Kind


def truth(seed: int = 0) -> np.ndarray:
    """[3, 6, 7] depth in millimetres."""
    return np.random.default_rng(seed).uniform(5, 80, (3, 6, 7))


@settings(max_examples=30, deadline=None)
@given(scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_alignment_undoes_scale_and_shift(scale: float, shift: float) -> None:
    depth, valid = truth()[0], np.ones((6, 7), bool)
    assert align_by_least_squares(scale * depth + shift, depth, valid) == pytest.approx(depth)


def test_alignment_looks_at_valid_pixels_only() -> None:
    depth = truth()[0]
    valid = np.arange(42).reshape(6, 7) % 3 > 0
    spoilt = np.where(valid, depth, 1e6)
    assert align_by_least_squares(2 * depth, spoilt, valid) == pytest.approx(depth)


def test_a_constant_is_aligned_to_the_mean() -> None:
    depth, valid = truth()[0], np.ones((6, 7), bool)
    assert align_by_least_squares(np.ones((6, 7)), depth, valid) == pytest.approx(depth.mean())


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_inverse_depth_of_any_scale_is_perfect(scale: float) -> None:
    depth = truth()
    valid = np.ones(depth.shape, bool)
    for prediction, kind in ((scale / depth, Kind.INVERSE_DEPTH), (scale * depth, Kind.DEPTH)):
        errors = per_frame_least_squares_in_depth(prediction, kind, depth, valid)
        assert errors.abs_rel == pytest.approx(0, abs=1e-9)
        assert (errors.delta1, errors.spearman, errors.frames) == (1, pytest.approx(1), 3)


@pytest.mark.parametrize("inverse", [np.zeros((2, 2)), np.eye(2), np.full((2, 2), 1e-30)])
def test_depth_is_finite_and_positive_for_every_inverse_depth(inverse: np.ndarray) -> None:
    depth = depth_from_inverse(inverse)
    assert np.isfinite(depth).all()
    assert (depth > 0).all()
    assert depth.max() <= 100.001 * depth.min()


def test_a_zero_does_not_own_the_fit() -> None:
    depth = truth()
    inverse = 1 / depth
    inverse[:, 0, 0] = 0
    valid = np.ones(depth.shape, bool)
    errors = per_frame_least_squares_in_depth(inverse, Kind.INVERSE_DEPTH, depth, valid)
    assert errors.spearman > 0.9


def test_folder_that_is_not_simcol_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="FrameBuffer"):
        read_simcol(tmp_path)


def test_known_floors_on_simcol(real_data: Path) -> None:
    """Light falls off with the square of the distance: what that alone is worth."""
    images, depth = read_simcol(real_data / "simcol3d")
    brightness = images.max(axis=3) / 255.0
    blurred = np.stack([gaussian_filter(image, 3.3) for image in brightness])
    prior = 1 / np.sqrt(np.maximum(blurred**2.2, 1e-6))
    errors = per_frame_least_squares_in_depth(prior, Kind.DEPTH, depth, depth > 0)
    assert errors.abs_rel == pytest.approx(0.196, abs=0.001)
    assert errors.delta1 == pytest.approx(0.617, abs=0.002)
    assert errors.spearman == pytest.approx(0.856, abs=0.002)
    assert errors.frames == 10
