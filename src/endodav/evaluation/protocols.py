"""Protocols: what is made comparable, over which pixels, before a prediction meets its truth.

A number means nothing without its protocol, so a protocol is a row of data with a name: in which
space prediction and truth are compared, by which rule scale and shift are found, from which frames,
and in which range. One function, `align`, applies any of them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from endodav.errors import InputError
from endodav.evaluation.alignment import (
    Fit,
    Pair,
    least_squares,
    least_squares_or_mean,
    median_and_deviation,
    median_ratio,
    nothing,
)
from endodav.evaluation.metrics import ALL, DepthErrors, DepthSums, depth_compute, depth_update
from endodav.inference.alignment import Affine
from endodav.types import Kind

# The farthest depth that a prediction of inverse depth can mean, as a multiple of the nearest of
# its frame: inverse depth below 1 % of the maximum is cut.
FARTHEST = 100.0
NEAREST_SHARE = 1e-6  # of a frame's largest depth; keeps 1 / depth finite and changes nothing else

Clip = Float[np.ndarray, "time height width"]
Map = Float[np.ndarray, "height width"]


class Scope(StrEnum):
    """From which frames a scale and shift are found."""

    FRAME = "each frame"
    VIDEO = "whole video"
    FIRST = "first frame"


@dataclass(frozen=True)
class Protocol:
    """How a prediction is made comparable with its truth.

    Attributes:
        name: what tables print.
        space: in which depth or inverse depth is fitted.
        fit: finds scale and shift.
        scope: from which frames.
        nearest: truth must be farther (mm), aligned depth is clipped to it.
        farthest: truth must be nearer (mm), aligned depth is clipped to it; finite where the space
            is inverse depth, because a shift may take inverse depth to zero.
        floor: predicted inverse depth is raised to this before it is fitted in that space.
    """

    name: str
    space: Kind
    fit: Fit
    scope: Scope
    nearest: float = 1e-3
    farthest: float = 150.0  # SCARED's range in the endoscopic papers
    floor: float = 0.0


PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("endodav", Kind.DEPTH, median_and_deviation, Scope.VIDEO),
        Protocol("endodac", Kind.DEPTH, median_ratio, Scope.FRAME),
        Protocol("video-median", Kind.DEPTH, median_ratio, Scope.VIDEO),
        Protocol("vda", Kind.INVERSE_DEPTH, least_squares, Scope.VIDEO, floor=1e-3),
        Protocol("per-frame-lstsq", Kind.DEPTH, least_squares, Scope.FRAME, farthest=math.inf),
        Protocol("first-frame", Kind.INVERSE_DEPTH, least_squares, Scope.FIRST),
        Protocol("metric", Kind.DEPTH, nothing, Scope.VIDEO),
    )
}


class EvalFrame(NamedTuple):
    """A prediction, in any unit, with its truth in millimetres and where that is known."""

    prediction: Map
    truth: Map
    valid: Bool[np.ndarray, "height width"]


@dataclass(frozen=True)
class AlignedFrame:
    """A prediction after alignment.

    Attributes:
        index: of the frame in its video.
        depth: in mm, within the protocol's range.
        truth: in mm.
        usable: where the truth is known and within the range.
        clipped: share of usable pixels whose aligned depth had to be clipped to the range.
    """

    index: int
    depth: Float[np.ndarray, "height width"]
    truth: Map
    usable: Bool[np.ndarray, "height width"]
    clipped: float


@dataclass(frozen=True)
class Score:
    """Errors of a video under a protocol.

    Attributes:
        protocol: what was aligned, and how.
        errors: means over frames.
        clipped: share of pixels that alignment put outside the range, a mean over frames. More than
            a few percent mean that errors measure the clip, not the prediction.
    """

    protocol: Protocol
    errors: DepthErrors
    clipped: float


def score(
    clip: Iterable[EvalFrame],
    kind: Kind,
    protocol: Protocol,
    metrics: Collection[str] = ALL,
) -> Score:
    """Errors of a whole video.

    Args:
        clip: frames in order; gone through several times, so not an iterator.
        kind: what the predictions are.
        protocol: one of `PROTOCOLS` or its own.
        metrics: names out of `metrics.ALL`.

    Raises:
        InputError: nothing can be compared, see `align`.
    """
    sums, clipped = DepthSums(), 0.0
    for frame in align(clip, kind, protocol):
        sums += depth_update(frame.depth, frame.truth, frame.usable, metrics)
        clipped += frame.clipped
    return Score(protocol, depth_compute(sums), clipped / sums.frames)


def align(clip: Iterable[EvalFrame], kind: Kind, protocol: Protocol) -> Iterator[AlignedFrame]:
    """Depth in mm of every frame whose truth is known somewhere, one at a time.

    Raises:
        InputError: sizes differ, a prediction is not finite, no truth lies within the range, or the
            prediction leaves scale and shift undetermined.
    """
    assert iter(clip) is not clip, "a clip is gone through several times"
    pairs = _Pairs(clip, kind, protocol)
    if not any(True for _ in pairs):
        raise InputError(
            f"The truth has no depth between {protocol.nearest:g} and {protocol.farthest:g} mm in "
            "any frame; check its unit (millimetres) and where it is valid."
        )
    shared = _fit_video(pairs, protocol)
    for index, frame in enumerate(clip):
        _check(index, frame)
        usable = _usable(frame, protocol)
        if not usable.any():
            continue
        values = _in_space(frame.prediction, kind, protocol)
        affine = shared
        if affine is None:
            affine = _fit_frame(index, _pair(values, frame.truth, usable, protocol), protocol)
        depth, outside = _to_depth(values, affine, protocol)
        yield AlignedFrame(index, depth, frame.truth, usable, float(outside[usable].mean()))


@dataclass(frozen=True)
class _Pairs:
    """Usable pixels of a clip in the space of the fit, made anew each time one goes through."""

    clip: Iterable[EvalFrame]
    kind: Kind
    protocol: Protocol

    def __iter__(self) -> Iterator[Pair]:
        for index, frame in enumerate(self.clip):
            _check(index, frame)
            usable = _usable(frame, self.protocol)
            if usable.any():
                values = _in_space(frame.prediction, self.kind, self.protocol)
                yield _pair(values, frame.truth, usable, self.protocol)


def _pair(
    values: Map, truth: Map, usable: Bool[np.ndarray, "height width"], protocol: Protocol
) -> Pair:
    chosen = np.flatnonzero(usable)  # several times as fast as indexing by booleans
    true = truth.ravel().take(chosen).astype(np.float64)
    return Pair(
        values.ravel().take(chosen), 1 / true if protocol.space is Kind.INVERSE_DEPTH else true
    )


def _check(index: int, frame: EvalFrame) -> None:
    if frame.prediction.shape != frame.truth.shape:
        height, width = frame.prediction.shape
        raise InputError(
            f"The prediction of frame {index} is {width}x{height}, but its truth is "
            f"{frame.truth.shape[1]}x{frame.truth.shape[0]}; resize the prediction first."
        )
    if not np.isfinite(frame.prediction).all():
        raise InputError(
            f"The prediction of frame {index} holds values that are not finite (NaN or infinity); "
            "predict it again or leave the frame out."
        )


def _usable(frame: EvalFrame, protocol: Protocol) -> NDArray[np.bool_]:
    near, far = protocol.nearest, protocol.farthest
    return np.asarray(frame.valid & (frame.truth > near) & (frame.truth < far))


def _fit_video(pairs: _Pairs, protocol: Protocol) -> Affine | None:
    """Scale and shift of the whole video, None where each frame has its own."""
    if protocol.scope is Scope.FRAME:
        return None
    return protocol.fit([next(iter(pairs))] if protocol.scope is Scope.FIRST else pairs)


def _fit_frame(index: int, pair: Pair, protocol: Protocol) -> Affine:
    try:
        return protocol.fit([pair])
    except InputError as error:
        raise InputError(f"Frame {index}: {error}") from error


def _in_space(prediction: Map, kind: Kind, protocol: Protocol) -> NDArray[np.float64]:
    """The prediction as depth or inverse depth, whichever the protocol fits in."""
    if protocol.space is Kind.DEPTH:
        is_depth = kind is Kind.DEPTH
        return prediction.astype(np.float64) if is_depth else depth_from_inverse(prediction)
    is_inverse = kind is Kind.INVERSE_DEPTH
    inverse = prediction.astype(np.float64) if is_inverse else inverse_from_depth(prediction)
    return np.maximum(inverse, protocol.floor)


def _to_depth(
    values: Map, affine: Affine, protocol: Protocol
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Aligned depth within the range, and where it was outside before it was clipped."""
    aligned = affine.scale * values + affine.shift
    low, high = protocol.nearest, protocol.farthest
    if protocol.space is Kind.DEPTH:
        return np.clip(aligned, low, high), (aligned < low) | (aligned > high)
    low, high = 1 / high, 1 / low
    return 1 / np.clip(aligned, low, high), (aligned < low) | (aligned > high)


def depth_from_inverse(inverse_depth: Map) -> NDArray[np.float64]:
    """1 / inverse depth, finite for every input.

    A prediction may be zero, and one zero would own the least-squares fit that follows. So inverse
    depth is cut at a hundredth of the frame's maximum: relative, because its scale means nothing,
    and low, because the end of a lumen is rarely fifty times as far as the nearest wall. A frame
    without any positive value becomes a constant.
    """
    return _reciprocal(inverse_depth, 1 / FARTHEST)


def inverse_from_depth(depth: Map) -> NDArray[np.float64]:
    """1 / depth, finite for every input; depth of zero or less counts as very near."""
    return _reciprocal(depth, NEAREST_SHARE)


def _reciprocal(values: Map, least_share: float) -> NDArray[np.float64]:
    values = values.astype(np.float64)
    largest = float(values.max())
    if largest <= 0:
        return np.ones_like(values)
    return np.asarray(1 / np.maximum(values, least_share * largest), np.float64)


def resized(prediction: Map, height: int, width: int) -> Float[np.ndarray, "new_height new_width"]:
    """The prediction at another size: bilinear, corners not aligned, as the benchmarks do."""
    if prediction.shape == (height, width):
        return prediction
    values = torch.from_numpy(np.ascontiguousarray(prediction))[None, None]
    result = torch.nn.functional.interpolate(values, (height, width), mode="bilinear")
    return np.asarray(result[0, 0].numpy())


def per_frame_least_squares_in_depth(
    prediction: Clip, kind: Kind, truth: Clip, valid: Bool[np.ndarray, "time height width"]
) -> DepthErrors:
    """The protocol `per-frame-lstsq`, for which a constant frame is no error but a floor.

    A constant is aligned to the mean of its truth. Training watches models that may be constant at
    first, and a benchmark compares with a constant on purpose.

    Args:
        prediction: depth or inverse depth, as `kind` says, in any unit.
        kind: what the prediction is.
        truth: depth in millimetres.
        valid: where the truth is known.
    """
    clip = [EvalFrame(*frame) for frame in zip(prediction, truth, valid, strict=True)]
    lenient = replace(PROTOCOLS["per-frame-lstsq"], fit=least_squares_or_mean)
    return score(clip, kind, lenient).errors
