"""Alignment of a prediction to its truth: the scale and shift that one rule finds.

A rule sees pairs of values (prediction, truth) at usable pixels, frame by frame, and may go through
them more than once. It keeps sums and counts only, so a video of any length is fitted exactly in
constant memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from endodav.errors import InputError
from endodav.inference.alignment import FLATNESS, Affine, Moments
from endodav.inference.alignment import least_squares as solve

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
    centres = medians(pairs)
    count, deviations = 0, np.zeros(2)
    for pair in pairs:
        count += pair.truth.size
        deviations += [np.abs(v - c).sum() for v, c in zip(pair, centres, strict=True)]
    spread, wanted = (float(value) / count for value in deviations)
    if spread <= np.sqrt(FLATNESS) * abs(centres[0]):
        raise _constant()
    scale = wanted / spread
    return Affine(scale, centres[1] - scale * centres[0])


def nothing(_: Pairs) -> Affine:
    """No alignment: the prediction is in millimetres."""
    return Affine()


def medians(pairs: Pairs) -> tuple[float, float]:
    """Median of predictions and of truths over all frames, exact to float32, in two passes.

    The bits of a float32, suitably flipped, are an integer in the same order. The first pass counts
    its upper 16 bits, which tells in which of 65,536 bins the two middle values lie; the second
    counts the lower 16 bits in these bins.
    """
    upper = np.zeros((2, BINS), np.int64)
    for pair in pairs:
        for counts, values in zip(upper, pair, strict=True):
            counts += np.bincount(_keys(values) >> DIGIT, minlength=BINS)
    size = int(upper[0].sum())
    ranks = np.array([(size - 1) // 2, size // 2])
    before = np.cumsum(upper, axis=1)
    bins = np.stack([np.searchsorted(row, ranks, side="right") for row in before])
    lower = np.zeros((2, 2, BINS), np.int64)  # of predictions and truths, around either middle
    for pair in pairs:
        for side, values in enumerate(pair):
            keys = _keys(values)
            for counts, chosen in zip(lower[side], bins[side], strict=True):
                inside = keys[keys >> DIGIT == chosen] & (BINS - 1)
                counts += np.bincount(inside, minlength=BINS)
    prediction, truth = (
        _middle(ranks - (before[side] - upper[side])[bins[side]], bins[side], lower[side])
        for side in range(2)
    )
    return prediction, truth


def _middle(ranks: NDArray[np.int64], bins: NDArray[np.int64], counts: NDArray[np.int64]) -> float:
    """Mean of the values that have these ranks in their bins."""
    digits = [
        np.searchsorted(np.cumsum(row), rank, side="right")
        for row, rank in zip(counts, ranks, strict=True)
    ]
    keys = (bins << DIGIT | np.array(digits)).astype(np.uint32)
    bits = np.where(keys & SIGN, keys ^ SIGN, ~keys)
    return float(bits.view(np.float32).astype(np.float64).mean())


def _keys(values: Values) -> NDArray[np.uint32]:
    """Integers in the order of the values: positive ones get the top bit, negative ones turn."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return np.where(bits & SIGN, ~bits, bits ^ SIGN)


def _total(pairs: Pairs) -> Moments:
    return sum((_moments(pair) for pair in pairs), Moments())


def _moments(pair: Pair) -> Moments:
    x, y = (values.astype(np.float64) for values in pair)
    return Moments(x.size, float(x.sum()), float(y.sum()), float(x @ x), float(x @ y))


def _flat(total: Moments) -> bool:
    """Whether the spread of the predictions is rounding noise."""
    return total.n * total.xx - total.x**2 <= FLATNESS * total.n * total.xx


def _constant() -> InputError:
    return InputError(
        "The prediction is the same at every usable pixel, so no scale and shift aligns it to the "
        "truth; check that the right files were given."
    )
