"""Laws of the protocols, what they refuse, and the known floors on SimCol3D."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from endodav.data.registry import open_dataset
from endodav.errors import InputError
from endodav.evaluation.protocols import (
    PROTOCOLS,
    EvalFrame,
    Scope,
    align,
    per_frame_least_squares_in_depth,
    score,
)
from endodav.evaluation.spaces import converted, resized
from endodav.types import Kind

SCALES_ONLY = ("endodac", "video-median")
SHIFTS_TOO = ("endodav", "per-frame-lstsq")
INVERSE = ("vda", "first-frame")


def truth(seed: int = 0) -> np.ndarray:
    """[3, 6, 7] depth in millimetres."""
    return np.random.default_rng(seed).uniform(5, 80, (3, 6, 7))


def clip(prediction: np.ndarray, depth: np.ndarray | None = None) -> list[EvalFrame]:
    depth = truth() if depth is None else depth
    return [EvalFrame(p, t, t > 0) for p, t in zip(prediction, depth, strict=True)]


def abs_rel(prediction: np.ndarray, kind: Kind, name: str) -> float:
    return score(clip(prediction), kind, PROTOCOLS[name]).errors.abs_rel


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_perfect_prediction_scores_perfectly(name: str) -> None:
    for prediction, kind in ((truth(), Kind.DEPTH), (1 / truth(), Kind.INVERSE_DEPTH)):
        found = score(clip(prediction), kind, PROTOCOLS[name])
        assert found.protocol.name == name
        assert found.errors.abs_rel == pytest.approx(0, abs=1e-6)
        assert found.errors.delta1 == 1
        assert found.clipped == 0


@pytest.mark.parametrize("name", SCALES_ONLY + SHIFTS_TOO)
@given(scale=st.floats(0.01, 100))
def test_scale_in_depth_is_undone(name: str, scale: float) -> None:
    assert abs_rel(scale * truth(), Kind.DEPTH, name) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", SHIFTS_TOO)
@given(scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_scale_and_shift_in_depth_are_undone(name: str, scale: float, shift: float) -> None:
    prediction = scale * truth() + shift
    assert abs_rel(prediction, Kind.DEPTH, name) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("name", INVERSE)
@given(scale=st.floats(0.2, 100), shift=st.floats(0, 50))
def test_scale_and_shift_in_inverse_depth_are_undone(name: str, scale: float, shift: float) -> None:
    prediction = scale / truth() + shift
    assert abs_rel(prediction, Kind.INVERSE_DEPTH, name) == pytest.approx(0, abs=1e-4)


def test_scopes_differ_when_the_scale_drifts() -> None:
    """A frame's own scale hides drift, the video's averages it, the first frame's shows it."""
    drifting = truth() * np.array([1.0, 1.3, 1.6])[:, None, None]
    frame, video = (abs_rel(drifting, Kind.DEPTH, name) for name in ("endodac", "video-median"))
    first = score(clip(drifting), Kind.DEPTH, replace(PROTOCOLS["video-median"], scope=Scope.FIRST))
    assert frame == pytest.approx(0, abs=1e-6)
    assert first.errors.abs_rel == pytest.approx((0 + 0.3 + 0.6) / 3, rel=1e-5)
    assert 0 < video < first.errors.abs_rel


def test_metric_leaves_the_prediction_alone() -> None:
    assert abs_rel(1.2 * truth(), Kind.DEPTH, "metric") == pytest.approx(0.2)


def test_the_range_limits_truth_and_prediction() -> None:
    depth = truth()
    depth[0, 0, :3] = 0, 150, 1000  # none of these is inside the range
    prediction = np.where(depth > 60, 500.0, depth)
    protocol = PROTOCOLS["metric"]
    first = next(align(clip(prediction, depth), Kind.DEPTH, protocol))
    assert not first.usable[0, :3].any()
    assert first.usable.sum() == 39
    assert first.depth.max() == protocol.farthest
    inside = depth[0][first.usable]
    assert first.clipped == pytest.approx(np.mean(inside > 60))


def test_frames_without_truth_are_left_out_with_their_index() -> None:
    depth = truth()
    depth[1] = 0
    for protocol in PROTOCOLS.values():
        frames = align(clip(truth(), depth), Kind.DEPTH, protocol)
        assert [frame.index for frame in frames] == [0, 2]


@pytest.mark.parametrize("name", sorted(PROTOCOLS.keys() - {"metric"} - {*SCALES_ONLY}))
def test_a_constant_prediction_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="the same at every usable pixel"):
        score(clip(np.full((3, 6, 7), 2.0)), Kind.INVERSE_DEPTH, PROTOCOLS[name])


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_prediction_that_is_not_finite_is_refused(name: str, value: float) -> None:
    prediction = truth()
    prediction[2, 3, 4] = value
    with pytest.raises(InputError, match="frame 2 holds values that are not finite"):
        score(clip(prediction), Kind.DEPTH, PROTOCOLS[name])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_truth_that_is_nowhere_valid_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="no depth between"):
        score(clip(truth(), np.zeros((3, 6, 7))), Kind.DEPTH, PROTOCOLS[name])


def test_depth_of_zero_has_no_scale() -> None:
    for name in SCALES_ONLY:
        with pytest.raises(InputError, match="median of the predicted depth is 0"):
            score(clip(np.zeros((3, 6, 7))), Kind.DEPTH, PROTOCOLS[name])


def test_a_degenerate_frame_counts_as_the_best_constant() -> None:
    prediction = truth()
    prediction[1] = 3
    found = score(clip(prediction), Kind.DEPTH, PROTOCOLS["per-frame-lstsq"])
    mean = np.mean(np.abs(truth()[1].mean() - truth()[1]) / truth()[1])
    assert (found.degenerate, found.inverted) == (1, 0)
    assert found.errors.abs_rel == pytest.approx(mean / 3)
    aligned = list(align(clip(prediction), Kind.DEPTH, PROTOCOLS["per-frame-lstsq"]))[1]
    assert aligned.depth == pytest.approx(truth()[1].mean())
    prediction[1] = 0
    found = score(clip(prediction), Kind.DEPTH, PROTOCOLS["endodac"])
    middle = np.mean(np.abs(np.median(truth()[1]) - truth()[1]) / truth()[1])
    assert found.errors.abs_rel == pytest.approx(middle / 3)


@pytest.mark.parametrize("name", [*SHIFTS_TOO, *INVERSE])
def test_frames_that_are_all_degenerate_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="same at every usable pixel"):
        score(clip(np.full((3, 6, 7), 3.0)), Kind.DEPTH, PROTOCOLS[name])
    with pytest.raises(InputError, match="same at every usable pixel"):
        list(align(clip(np.full((3, 6, 7), 3.0)), Kind.DEPTH, PROTOCOLS[name]))


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("vda", Kind.INVERSE_DEPTH, 3),
        ("first-frame", Kind.INVERSE_DEPTH, 3),
        ("per-frame-lstsq", Kind.DEPTH, 3),
        ("endodav", Kind.DEPTH, 0),  # deviations are positive: this rule cannot turn a scale round
        ("endodac", Kind.DEPTH, 0),
    ],
)
def test_near_and_far_turned_round_is_counted(name: str, kind: Kind, expected: int) -> None:
    values = truth() if kind is Kind.DEPTH else 1 / truth()
    against = values.max() + values.min() - values
    assert score(clip(against), kind, PROTOCOLS[name]).inverted == expected
    assert score(clip(values), kind, PROTOCOLS[name]).inverted == 0


def test_a_single_frame_turned_round_is_counted() -> None:
    prediction = truth()
    prediction[2] = 100 - prediction[2]
    assert score(clip(prediction), Kind.DEPTH, PROTOCOLS["per-frame-lstsq"]).inverted == 1


def test_sizes_that_differ_are_named() -> None:
    with pytest.raises(InputError, match="frame 0 is 5x4, but its truth is 7x6"):
        score(clip(np.ones((3, 4, 5))), Kind.DEPTH, PROTOCOLS["metric"])


def test_resizing_keeps_a_ramp() -> None:
    ramp = np.arange(8.0)[None].repeat(4, axis=0)
    assert resized(ramp, 2, 4)[0] == pytest.approx([0.5, 2.5, 4.5, 6.5])
    assert resized(ramp, 4, 8) is ramp


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_inverse_depth_of_any_scale_is_perfect(scale: float) -> None:
    depth = truth()
    valid = np.ones(depth.shape, bool)
    for prediction, kind in ((scale / depth, Kind.INVERSE_DEPTH), (scale * depth, Kind.DEPTH)):
        errors = per_frame_least_squares_in_depth(prediction, kind, depth, valid)
        assert errors.abs_rel == pytest.approx(0, abs=1e-9)
        assert (errors.delta1, errors.spearman, errors.frames) == (1, pytest.approx(1), 3)


def test_a_constant_is_a_floor_while_training() -> None:
    depth = truth()
    found = per_frame_least_squares_in_depth(np.ones_like(depth), Kind.DEPTH, depth, depth > 0)
    means = depth.mean(axis=(1, 2), keepdims=True)
    assert found.abs_rel == pytest.approx(np.mean(np.abs(means - depth) / depth))


@pytest.mark.parametrize("inverse", [np.zeros((2, 2)), np.eye(2), np.full((2, 2), 1e-30)])
def test_depth_is_finite_and_positive_for_every_inverse_depth(inverse: np.ndarray) -> None:
    depth = converted(inverse, inverse.max(), Kind.INVERSE_DEPTH, Kind.DEPTH)
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


def test_known_floors_on_simcol(real_data: Path) -> None:
    """Light falls off with the square of the distance: what that alone is worth."""
    (sequence,) = open_dataset("simcol3d", real_data / "simcol3d")
    images = np.stack([sample.image for sample in sequence])
    depth = np.stack([sample.depth for sample in sequence])
    brightness = images.max(axis=3) / 255.0
    blurred = np.stack([gaussian_filter(image, 3.3) for image in brightness])
    prior = 1 / np.sqrt(np.maximum(blurred**2.2, 1e-6))
    errors = per_frame_least_squares_in_depth(prior, Kind.DEPTH, depth, depth > 0)
    assert errors.abs_rel == pytest.approx(0.196, abs=0.001)
    assert errors.delta1 == pytest.approx(0.617, abs=0.002)
    assert errors.spearman == pytest.approx(0.856, abs=0.002)
    assert errors.frames == 10
