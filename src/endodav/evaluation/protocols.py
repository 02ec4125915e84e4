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
from typing import Any, NamedTuple

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
from endodav.evaluation.metrics import ALL, DepthErrors, DepthSums, depth_compute, pixels_update
from endodav.evaluation.pipeline import ahead
from endodav.inference.alignment import Affine
from endodav.types import Kind

# The farthest depth that a prediction of inverse depth can mean, as a multiple of the nearest of
# its frame: inverse depth below 1 % of the maximum is cut.
FARTHEST = 100.0
NEAREST_SHARE = 1e-6  # of a frame's largest depth; keeps 1 / depth finite and changes nothing else

Clip = Float[np.ndarray, "time height width"]
Map = Float[np.ndarray, "height width"]
Values = Float[np.ndarray, " n"]
Numbers = Float[np.ndarray, "..."]


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
    pairs = _Pairs(clip, kind, protocol)
    shared = _fit_video(pairs, protocol)
    sums, clipped = DepthSums(), 0.0
    for index, values, truth in ahead(pairs.by_frame()):
        affine = shared or _fit_frame(index, _pair(values, truth, protocol), protocol)
        depth, outside = _to_depth(values, affine, protocol)
        sums += pixels_update(depth, truth, metrics)
        clipped += float(outside.mean())
    return Score(protocol, depth_compute(sums), clipped / sums.frames)


def align(clip: Iterable[EvalFrame], kind: Kind, protocol: Protocol) -> Iterator[AlignedFrame]:
    """Depth in mm of every frame whose truth is known somewhere, one at a time.

    Raises:
        InputError: sizes differ, a prediction is not finite, no truth lies within the range, or the
            prediction leaves scale and shift undetermined.
    """
    pairs = _Pairs(clip, kind, protocol)
    shared = _fit_video(pairs, protocol)
    for index, frame in enumerate(clip):
        usable = _usable(frame, protocol)
        if not usable.any():
            continue
        values = _in_space(frame.prediction, _largest(index, frame), kind, protocol)
        affine = shared
        if affine is None:
            chosen = np.flatnonzero(usable)
            pair = _pair(values.ravel().take(chosen), frame.truth.ravel().take(chosen), protocol)
            affine = _fit_frame(index, pair, protocol)
        depth, outside = _to_depth(values, affine, protocol)
        yield AlignedFrame(index, depth, frame.truth, usable, float(outside[usable].mean()))


class _Usable(NamedTuple):
    """Usable pixels of one frame, at least one, in the same order.

    Attributes:
        number: of the frame in its clip.
        values: the prediction in the space of the fit.
        truth: in mm.
    """

    number: int
    values: Values
    truth: Values


@dataclass(frozen=True)
class _Pairs:
    """Usable pixels of a clip in the space of the fit, made anew each time one goes through."""

    clip: Iterable[EvalFrame]
    kind: Kind
    protocol: Protocol

    def __post_init__(self) -> None:
        assert iter(self.clip) is not self.clip, "a clip is gone through several times"

    def __iter__(self) -> Iterator[Pair]:
        pairs = (_pair(values, truth, self.protocol) for _, values, truth in self.by_frame())
        return ahead(pairs)

    def by_frame(self) -> Iterator[_Usable]:
        """Frames that have usable pixels.

        Raises:
            InputError: see `align`.
        """
        empty = True
        for index, frame in enumerate(self.clip):
            largest = _largest(index, frame)
            chosen = np.flatnonzero(_usable(frame, self.protocol))
            if chosen.size:
                empty = False
                seen = frame.prediction.ravel().take(chosen)
                values = _in_space(seen, largest, self.kind, self.protocol)
                yield _Usable(index, values, frame.truth.ravel().take(chosen))
        if empty:
            raise InputError(
                f"The truth has no depth between {self.protocol.nearest:g} and "
                f"{self.protocol.farthest:g} mm in any frame; check its unit (millimetres) and "
                "where it is valid, or choose another range."
            )


def _pair(values: Values, truth: Values, protocol: Protocol) -> Pair:
    return Pair(values, 1 / truth if protocol.space is Kind.INVERSE_DEPTH else truth)


def _largest(index: int, frame: EvalFrame) -> float:
    """The largest predicted value of a frame that is as it should be."""
    if frame.prediction.shape != frame.truth.shape:
        height, width = frame.prediction.shape
        raise InputError(
            f"The prediction of frame {index} is {width}x{height}, but its truth is "
            f"{frame.truth.shape[1]}x{frame.truth.shape[0]}; resize the prediction first."
        )
    smallest, largest = float(frame.prediction.min()), float(frame.prediction.max())
    if not (math.isfinite(smallest) and math.isfinite(largest)):  # NaN wins both comparisons
        raise InputError(
            f"The prediction of frame {index} holds values that are not finite (NaN or infinity); "
            "predict it again or leave the frame out."
        )
    return largest


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


def _in_space(
    prediction: Numbers, largest: float, kind: Kind, protocol: Protocol
) -> NDArray[np.floating[Any]]:
    """The prediction as depth or inverse depth, whichever the protocol fits in.

    Args:
        prediction: any values of a frame.
        largest: of all values of the frame.
        kind: what the prediction is.
        protocol: the space.
    """
    values = prediction
    if kind is not protocol.space:
        least = NEAREST_SHARE if kind is Kind.DEPTH else 1 / FARTHEST
        values = _reciprocal(prediction, largest, least)
    if protocol.space is Kind.DEPTH:
        return np.asarray(values)
    return np.asarray(np.maximum(values, values.dtype.type(protocol.floor)))


def _to_depth(
    values: Numbers, affine: Affine, protocol: Protocol
) -> tuple[NDArray[np.floating[Any]], NDArray[np.bool_]]:
    """Aligned depth within the range, and where it was outside before it was clipped."""
    aligned = values * values.dtype.type(affine.scale) + values.dtype.type(affine.shift)
    low, high = protocol.nearest, protocol.farthest
    if protocol.space is Kind.DEPTH:
        return np.clip(aligned, low, high), (aligned < low) | (aligned > high)
    low, high = 1 / high, 1 / low
    return 1 / np.clip(aligned, low, high), (aligned < low) | (aligned > high)


def depth_from_inverse(inverse_depth: Map) -> Map:
    """1 / inverse depth, finite for every input.

    A prediction may be zero, and one zero would own the least-squares fit that follows. So inverse
    depth is cut at a hundredth of the frame's maximum: relative, because its scale means nothing,
    and low, because the end of a lumen is rarely fifty times as far as the nearest wall. A frame
    without any positive value becomes a constant.
    """
    return _reciprocal(inverse_depth, float(inverse_depth.max()), 1 / FARTHEST)


def inverse_from_depth(depth: Map) -> Map:
    """1 / depth, finite for every input; depth of zero or less counts as very near."""
    return _reciprocal(depth, float(depth.max()), NEAREST_SHARE)


def _reciprocal(values: Numbers, largest: float, least_share: float) -> NDArray[np.floating[Any]]:
    """1 / values, none of them below a share of the largest of their frame."""
    if largest <= 0:
        return np.ones_like(values)
    return np.asarray(1 / np.maximum(values, values.dtype.type(least_share * largest)))


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
