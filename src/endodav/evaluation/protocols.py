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
from typing import Any, NamedTuple, runtime_checkable
from typing import Protocol as TypingProtocol

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from endodav.errors import InputError
from endodav.evaluation.alignment import (
    Fit,
    Pair,
    UndeterminedError,
    least_squares,
    least_squares_or_mean,
    median_and_deviation,
    median_ratio,
    nothing,
)
from endodav.evaluation.metrics import ALL, DepthErrors, DepthSums, depth_compute, pixels_update
from endodav.evaluation.spaces import converted
from endodav.inference.alignment import Affine
from endodav.types import Kind
from endodav.video.ahead import ahead

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


class Known(NamedTuple):
    """Pixels of a frame whose truth is known.

    Attributes:
        prediction: in any unit.
        truth: in mm, of the same pixels.
        largest: of all predicted values of the frame.
    """

    prediction: Values
    truth: Values
    largest: float


@runtime_checkable
class Compact(TypingProtocol):
    """A clip that has its known pixels at hand, so that they need not be looked for each time."""

    def known(self) -> Iterator[Known]:
        """Of each frame in order."""
        ...


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
        inverted: frames whose scale is negative: near and far were turned round to fit the truth.
        degenerate: frames that leave their own scale and shift undetermined, such as constant ones;
            they count as the best constant.
    """

    protocol: Protocol
    errors: DepthErrors
    clipped: float
    inverted: int
    degenerate: int


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
    fits = _Fits(pairs, protocol)
    sums, clipped = DepthSums(), 0.0
    for values, truth in ahead(pairs.by_frame()):
        depth, outside = _to_depth(values, fits.of(values, truth), protocol)
        sums += pixels_update(depth, truth, metrics)
        clipped += np.count_nonzero(outside) / outside.size
    fits.check()
    return Score(
        protocol, depth_compute(sums), clipped / sums.frames, fits.inverted, fits.degenerate
    )


def align(clip: Iterable[EvalFrame], kind: Kind, protocol: Protocol) -> Iterator[AlignedFrame]:
    """Depth in mm of every frame whose truth is known somewhere, one at a time.

    Raises:
        InputError: sizes differ, a prediction is not finite, no truth lies within the range, or the
            prediction leaves scale and shift undetermined.
    """
    fits = _Fits(_Pairs(clip, kind, protocol), protocol)
    for index, frame in enumerate(clip):
        usable = frame.valid & _within(frame.truth, protocol)
        chosen = np.flatnonzero(usable)
        if not chosen.size:
            continue
        values = _in_space(frame.prediction, _largest(index, frame), kind, protocol)
        affine = fits.of(values.ravel().take(chosen), frame.truth.ravel().take(chosen))
        depth, outside = _to_depth(values, affine, protocol)
        clipped = np.count_nonzero(outside & usable) / chosen.size
        yield AlignedFrame(index, depth, frame.truth, usable, clipped)
    fits.check()


@dataclass(frozen=True)
class _Pairs:
    """Usable pixels of a clip in the space of the fit, made anew each time one goes through."""

    clip: Iterable[EvalFrame]
    kind: Kind
    protocol: Protocol

    def __post_init__(self) -> None:
        assert iter(self.clip) is not self.clip, "a clip is gone through several times"

    def __iter__(self) -> Iterator[Pair]:
        return ahead(_pair(values, truth, self.protocol) for values, truth in self.by_frame())

    def by_frame(self) -> Iterator[tuple[Values, Values]]:
        """Prediction in the space of the fit and truth in mm, of frames with usable pixels.

        Raises:
            InputError: see `align`.
        """
        empty = True
        for prediction, truth, largest in self._known():
            usable = _within(truth, self.protocol)
            if not usable.all():
                chosen = np.flatnonzero(usable)
                prediction, truth = prediction.take(chosen), truth.take(chosen)
            if truth.size:
                empty = False
                yield _in_space(prediction, largest, self.kind, self.protocol), truth
        if empty:
            raise InputError(
                f"The truth has no depth between {self.protocol.nearest:g} and "
                f"{self.protocol.farthest:g} mm in any frame; check its unit (millimetres) and "
                "where it is valid, or choose another range."
            )

    def _known(self) -> Iterator[Known]:
        if isinstance(self.clip, Compact):
            return self.clip.known()
        return (known(index, frame) for index, frame in enumerate(self.clip))


class _Fits:
    """Finds the scale and shift of each frame, and counts what is odd about them.

    Raises:
        InputError: those of the whole video cannot be found.
    """

    def __init__(self, pairs: _Pairs, protocol: Protocol) -> None:
        self.frames = self.inverted = self.degenerate = 0
        self._protocol = protocol
        self._error: UndeterminedError | None = None
        self._shared: Affine | None = None
        if protocol.scope is not Scope.FRAME:
            first_only = protocol.scope is Scope.FIRST
            self._shared = protocol.fit([next(iter(pairs))] if first_only else pairs)

    def of(self, values: Values, truth: Values) -> Affine:
        """Scale and shift of the next frame, from its usable pixels; see `_Pairs.by_frame`."""
        affine = self._shared or self._of_frame(_pair(values, truth, self._protocol))
        self.frames += 1
        self.inverted += affine.scale < 0
        return affine

    def _of_frame(self, pair: Pair) -> Affine:
        try:
            return self._protocol.fit([pair])
        except UndeterminedError as error:
            self.degenerate += 1
            self._error = error
            return Affine(0.0, error.constant)

    def check(self) -> None:
        """Refuse a video whose frames are all degenerate."""
        if self._error is not None and self.degenerate == self.frames:
            raise self._error


def known(index: int, frame: EvalFrame) -> Known:
    """The known pixels of a frame.

    Raises:
        InputError: sizes differ, or the prediction is not finite.
    """
    largest = _largest(index, frame)
    chosen = np.flatnonzero(frame.valid)
    return Known(frame.prediction.ravel().take(chosen), frame.truth.ravel().take(chosen), largest)


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


def _within(truth: Numbers, protocol: Protocol) -> NDArray[np.bool_]:
    return np.asarray((truth > protocol.nearest) & (truth < protocol.farthest))


def _in_space(
    prediction: Numbers, largest: float, kind: Kind, protocol: Protocol
) -> NDArray[np.floating[Any]]:
    """The prediction as depth or inverse depth, whichever the protocol fits in."""
    values = converted(prediction, largest, kind, protocol.space)
    if protocol.space is Kind.DEPTH:
        return values
    return np.asarray(np.maximum(values, values.dtype.type(protocol.floor)))


def _to_depth(
    values: Numbers, affine: Affine, protocol: Protocol
) -> tuple[NDArray[np.floating[Any]], NDArray[np.bool_]]:
    """Aligned depth within the range, and where it was outside before it was clipped."""
    inverse = protocol.space is Kind.INVERSE_DEPTH
    low, high = protocol.nearest, protocol.farthest
    if inverse:
        low, high = 1 / high, 1 / low
    depth = values * values.dtype.type(affine.scale)
    depth += values.dtype.type(affine.shift)
    outside = (depth < low) | (depth > high)
    np.clip(depth, low, high, out=depth)
    return np.reciprocal(depth, out=depth) if inverse else depth, outside


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
