"""Alignment of a prediction to its truth: the scale and shift that one rule finds.

A rule sees pairs of values (prediction, truth) at usable pixels, frame by frame, and may go through
them more than once. It keeps sums and counts only, so a video of any length is fitted exactly in
constant memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
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
SIGN = np.uint32(1 << 31)

Values = Float[np.ndarray, " n"]


class Pair(NamedTuple):
    """Usable pixels of one frame, at least one, in the same order."""

    prediction: Values
    truth: Values


Pairs = Iterable[Pair]
"""Frames that can be gone through again and again; an iterator cannot."""

Fit = Callable[[Pairs], Affine]


def least_squares(pairs: Pairs) -> Affine:
    """Scale and shift that minimise the sum of (scale prediction + shift - truth)^2.

    Raises:
        InputError: the prediction is constant.
    """
    total = _total(pairs)
    if _flat(total):
        raise _constant()
    return solve(total)


def least_squares_or_mean(pairs: Pairs) -> Affine:
    """`least_squares`, with the mean of the truth for a constant prediction."""
    total = _total(pairs)
    return Affine(0.0, total.y / total.n) if _flat(total) else solve(total)


def median_ratio(pairs: Pairs) -> Affine:
    """The scale that makes the medians equal; no shift (EndoDAC, AF-SfMLearner, monodepth2).

    Raises:
        InputError: the median of the prediction is not positive.
    """
    prediction, truth = medians(pairs)
    if prediction <= 0:
        raise InputError(
            f"The median of the predicted depth is {prediction:g}, so no scale aligns it to the "
            "truth; check that the prediction is depth, or choose a protocol that fits a shift."
        )
    return Affine(truth / prediction, 0.0)


def median_and_deviation(pairs: Pairs) -> Affine:
    """Scale and shift that make medians and mean absolute deviations equal (EndoDAV).

    Raises:
        InputError: the prediction is constant.
    """
    (centre, spread), (target, wanted) = spreads(pairs)
    if spread <= np.sqrt(FLATNESS) * abs(centre):
        raise _constant()
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
    its upper 16 bits, which tells in which of 65,536 bins the two middle values lie; the second
    counts the lower 16 bits in these bins, and sums distances to the lower edge of the first bin.
    Only values between that edge and the median are nearer to the one than to the other in a way
    that depends on them, and these have just been counted one by one.
    """
    upper = np.zeros((2, BINS), np.int64)
    for pair in pairs:
        for counts, values in zip(upper, pair, strict=True):
            counts += np.bincount(_keys(values) >> DIGIT, minlength=BINS)
    middles = [_Middle.of(counts) for counts in upper]
    for pair in pairs:
        for middle, values in zip(middles, pair, strict=True):
            middle.add(values)
    prediction, truth = (middle.spread() for middle in middles)
    return prediction, truth


@dataclass
class _Middle:
    """The second pass over the values of one side.

    Attributes:
        size: number of values.
        bins: upper digit of either middle value.
        ranks: place of either middle value within its bin.
        below: number of values in bins before the first.
        edge: a value no larger than any in the first bin, and larger than any before it.
        lower: counts of lower digits by bin.
        distance: sum of |value - edge|.
    """

    size: int
    bins: tuple[int, int]
    ranks: tuple[int, int]
    below: int
    edge: float
    lower: dict[int, NDArray[np.int64]]
    distance: float = 0.0

    @classmethod
    def of(cls, upper: NDArray[np.int64]) -> _Middle:
        """From the counts of upper digits."""
        ends = np.cumsum(upper)
        size = int(ends[-1])
        wanted = ((size - 1) // 2, size // 2)
        first, second = (int(np.searchsorted(ends, rank, side="right")) for rank in wanted)
        before = ends - upper
        return cls(
            size,
            (first, second),
            (wanted[0] - int(before[first]), wanted[1] - int(before[second])),
            int(before[first]),
            float(_values(np.array([first << DIGIT]))[0]),
            {number: np.zeros(BINS, np.int64) for number in (first, second)},
        )

    def add(self, values: Values) -> None:
        """See the values of one frame."""
        edge = values.dtype.type(self.edge)
        for block in _blocks(values):
            self.distance += float(np.abs(block - edge).sum(dtype=np.float64))
        keys = _keys(values)
        digits = keys >> DIGIT
        for number, counts in self.lower.items():
            inside = keys.take(np.flatnonzero(digits == number)) & (BINS - 1)
            counts += np.bincount(inside, minlength=BINS)

    def spread(self) -> Spread:
        """Median, and mean distance to it from the mean distance to the edge."""
        found = [
            (number << DIGIT) + int(np.searchsorted(np.cumsum(self.lower[number]), rank, "right"))
            for number, rank in zip(self.bins, self.ranks, strict=True)
        ]
        median = float(_values(np.array(found)).mean())
        counts = self.lower[self.bins[0]]
        digits = np.flatnonzero(counts)
        inside, times = _values((self.bins[0] << DIGIT) + digits), counts[digits]
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


def _total(pairs: Pairs) -> Moments:
    return sum((_moments(pair) for pair in pairs), Moments())


def _moments(pair: Pair) -> Moments:
    total = Moments()
    for block in zip(*map(_blocks, pair), strict=True):
        x, y = (values.astype(np.float64) for values in block)
        total += Moments(x.size, float(x.sum()), float(y.sum()), float(x @ x), float(x @ y))
    return total


def _flat(total: Moments) -> bool:
    """Whether the spread of the predictions is rounding noise."""
    return total.n * total.xx - total.x**2 <= FLATNESS * total.n * total.xx


def _constant() -> InputError:
    return InputError(
        "The prediction is the same at every usable pixel, so no scale and shift aligns it to the "
        "truth; check that the right files were given."
    )
