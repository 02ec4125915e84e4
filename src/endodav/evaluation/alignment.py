"""Alignment of a prediction to its truth: the scale and shift that one rule finds.

A rule sees pairs of values (prediction, truth) at usable pixels, frame by frame, and may go through
them more than once. It keeps sums and counts only, so a video of any length is fitted exactly in
constant memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from endodav.errors import InputError
from endodav.inference.alignment import FLATNESS, Affine, Moments
from endodav.inference.alignment import least_squares as solve

BLOCK = 1 << 15  # pixels that are added up at once; they fit the processor's cache
DIGIT = 16  # bits; a float32 is ordered by two digits of this size
BINS = 1 << DIGIT
LOWEST = 0x80  # upper digit of the most negative finite value; before it are NaN
SAMPLE = 1 << 16  # pixels of a frame that tell where the median is, within a fifth of a percent
CONSTANT = (
    "The prediction is the same at every usable pixel, so no scale and shift aligns it to the "
    "truth; check that the right files were given."
)
SIGN = np.uint32(1 << 31)

Values = Float[np.ndarray, " n"]


class Pair(NamedTuple):
    """Usable pixels of one frame, at least one, in the same order."""

    prediction: Values
    truth: Values


Pairs = Iterable[Pair]
"""Frames that can be gone through again and again; an iterator cannot."""

Fit = Callable[[Pairs], Affine]


class UndeterminedError(InputError):
    """A prediction leaves scale and shift undetermined.

    Attributes:
        constant: what the rule makes of the best constant instead, in the space of the fit.
    """

    def __init__(self, message: str, constant: float) -> None:
        super().__init__(message)
        self.constant = constant


def least_squares(pairs: Pairs) -> Affine:
    """Scale and shift that minimise the sum of (scale prediction + shift - truth)^2.

    Raises:
        UndeterminedError: the prediction is constant.
    """
    total = sum((_moments(pair) for pair in pairs), Moments())
    # A spread that is rounding noise.
    if total.n * total.xx - total.x**2 <= FLATNESS * total.n * total.xx:
        raise UndeterminedError(CONSTANT, total.y / total.n)
    return solve(total)


def least_squares_or_mean(pairs: Pairs) -> Affine:
    """`least_squares`, with the mean of the truth for a constant prediction."""
    try:
        return least_squares(pairs)
    except UndeterminedError as error:
        return Affine(0.0, error.constant)


def median_ratio(pairs: Pairs) -> Affine:
    """The scale that makes the medians equal; no shift (EndoDAC, AF-SfMLearner, monodepth2).

    Raises:
        UndeterminedError: the median of the prediction is not positive.
    """
    prediction, truth = medians(pairs)
    if prediction <= 0:
        raise UndeterminedError(
            f"The median of the predicted depth is {prediction:g}, so no scale aligns it to the "
            "truth; check that the prediction is depth, or choose a protocol that fits a shift.",
            truth,
        )
    return Affine(truth / prediction, 0.0)


def median_and_deviation(pairs: Pairs) -> Affine:
    """Scale and shift that make medians and mean absolute deviations equal (EndoDAV).

    Raises:
        UndeterminedError: the prediction is constant.
    """
    (centre, spread), (target, wanted) = spreads(pairs)
    if spread <= np.sqrt(FLATNESS) * abs(centre):
        raise UndeterminedError(CONSTANT, target)
    scale = wanted / spread
    return Affine(scale, target - scale * centre)


def nothing(_: Pairs) -> Affine:
    """No alignment: the prediction is in millimetres."""
    return Affine()


class Spread(NamedTuple):
    """Median of values, and their mean absolute deviation from it."""

    median: float
    deviation: float


def medians(pairs: Pairs) -> tuple[float, float]:
    """Median of predictions and of truths over all frames, exact to float32, in two passes."""
    prediction, truth = spreads(pairs)
    return prediction.median, truth.median


def spreads(pairs: Pairs) -> tuple[Spread, Spread]:
    """Spread of predictions and of truths over all frames, exact to float32, in two passes.

    The bits of a float32, suitably flipped, are an integer in the same order. The first pass counts
    the upper 16 of some pixels of each frame, which tells about where the median lies; the second
    counts every value around there, all below, and sums distances to a value just below. Only
    values between that and the median are nearer to the one than to the other in a way that depends
    on them, and these have just been counted one by one. Should the guess be wrong, it is made
    again from all pixels.
    """
    for sample in (SAMPLE, None):
        middles = [_Middle.around(counts) for counts in _upper_digits(pairs, sample)]
        for pair in pairs:
            for middle, values in zip(middles, pair, strict=True):
                middle.add(values)
        if all(middle.holds for middle in middles):
            break
    prediction, truth = (
        middle.spread(partial(_smallest_from, pairs, side)) for side, middle in enumerate(middles)
    )
    return prediction, truth


def _upper_digits(pairs: Pairs, sample: int | None) -> NDArray[np.int64]:
    """How often each upper digit occurs among about `sample` pixels a frame, or all, [2, BINS]."""
    upper = np.zeros((2, BINS), np.int64)
    for pair in pairs:
        stride = max(1, pair.truth.size // sample) if sample else 1
        for counts, values in zip(upper, pair, strict=True):
            counts += np.bincount(_keys(values[::stride]) >> DIGIT, minlength=BINS)
    return upper


def _smallest_from(pairs: Pairs, side: int, limit: float) -> float:
    """The smallest value of a side that is not below a limit."""
    return min(float(pair[side].min(where=pair[side] >= limit, initial=np.inf)) for pair in pairs)


@dataclass
class _Middle:
    """The second pass over the values of one side.

    Attributes:
        first: key of the smallest value that is counted one by one.
        counts: of the values with the keys from there on.
        size: number of values.
        below: number of values before them.
        distance: sum of |value - edge|, where edge is the value with the first key.
    """

    first: int
    counts: NDArray[np.int64]
    size: int = 0
    below: int = 0
    distance: float = 0.0

    @classmethod
    def around(cls, upper: NDArray[np.int64]) -> _Middle:
        """Three upper digits around the median of these."""
        ends = np.cumsum(upper)
        digit = int(np.searchsorted(ends, (ends[-1] - 1) // 2, side="right"))
        return cls(max(digit - 1, LOWEST) << DIGIT, np.zeros(3 * BINS, np.int64))

    @property
    def edge(self) -> float:
        """The value with the first key."""
        return float(_values(np.array([self.first]))[0])

    @property
    def rank(self) -> int:
        """Of the lower middle value among those that are counted."""
        return (self.size - 1) // 2 - self.below

    @property
    def holds(self) -> bool:
        """Whether the lower middle value is among those that are counted."""
        return 0 <= self.rank < int(self.counts.sum())

    def add(self, values: Values) -> None:
        """See the values of one frame."""
        edge = values.dtype.type(self.edge)
        self.size += values.size
        for block in _blocks(values):
            self.distance += float(np.abs(block - edge).sum(dtype=np.float64))
            keys = _keys(block)
            self.below += int(np.count_nonzero(keys < self.first))
            keys -= np.uint32(self.first)  # what is below wraps to the largest
            inside = keys.take(np.flatnonzero(keys < self.counts.size))
            np.add.at(self.counts, inside, 1)

    def spread(self, smallest_from: Callable[[float], float]) -> Spread:
        """Median, and mean distance to it from the mean distance to the edge.

        Args:
            smallest_from: finds the smallest value that is not below a limit.
        """
        ends = np.cumsum(self.counts)
        places = np.searchsorted(ends, [self.rank, self.rank + 1 - self.size % 2], "right")
        lower, upper = (
            float(_values(np.array([self.first + place]))[0])
            if place < ends.size
            else smallest_from(float(_values(np.array([self.first + ends.size]))[0]))
            for place in places
        )
        median = (lower + upper) / 2
        digits = np.flatnonzero(self.counts)
        inside, times = _values(self.first + digits), self.counts[digits]
        near = inside < median
        step = median - self.edge
        distance = self.distance + step * (self.below - (self.size - self.below))
        distance += 2 * float(((median - inside[near]) * times[near]).sum())
        return Spread(median, distance / self.size)


def _keys(values: Values) -> NDArray[np.uint32]:
    """Integers in the order of the values: positive ones get the top bit, negative ones turn."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    if values.size and float(values.min()) > 0:
        return bits ^ SIGN
    return np.where(bits & SIGN, ~bits, bits ^ SIGN)


def _values(keys: NDArray[np.int64]) -> NDArray[np.float64]:
    """The values that have these keys."""
    bits = keys.astype(np.uint32)
    return np.where(bits & SIGN, bits ^ SIGN, ~bits).view(np.float32).astype(np.float64)


def _blocks(values: Values) -> Iterator[Values]:
    return (values[start : start + BLOCK] for start in range(0, values.size, BLOCK))


def _moments(pair: Pair) -> Moments:
    total = Moments()
    for block in zip(*map(_blocks, pair), strict=True):
        x, y = (values.astype(np.float64) for values in block)
        # Not `x @ y`: BLAS would wake its threads for a few microseconds of work, block by block.
        squares, products = np.einsum("i,i->", x, x), np.einsum("i,i->", x, y)
        total += Moments(x.size, float(x.sum()), float(y.sum()), float(squares), float(products))
    return total
