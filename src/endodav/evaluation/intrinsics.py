"""Predicted intrinsics against the truth, in shares of the image size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from endodav.evaluation.sums import Sums

Values4 = Float[np.ndarray, "4"]


@dataclass(frozen=True)
class IntrinsicsSums(Sums):
    """Sums over frames of (fx/width, fy/height, cx/width, cy/height) and of what they are off.

    Attributes:
        frames: how many.
        values: sums.
        squares: sums of squares.
        errors: sums of |predicted - true| / true.
    """

    frames: int
    values: Values4
    squares: Values4
    errors: Values4


@dataclass(frozen=True)
class IntrinsicsErrors:
    """fx/width, fy/height, cx/width, cy/height, each [4].

    Attributes:
        frames: how many.
        mean: of the prediction.
        std: deviation of the prediction over frames.
        relative_error: mean over frames of |predicted - true| / true.
    """

    frames: int
    mean: Values4
    std: Values4
    relative_error: Values4


def intrinsics_update(
    prediction: Float[np.ndarray, "3 3"], truth: Float[np.ndarray, "3 3"], height: int, width: int
) -> IntrinsicsSums:
    """Statistics of one frame; both matrices in pixels of an image of that size."""
    predicted, true = (normalised(K, height, width) for K in (prediction, truth))
    return IntrinsicsSums(1, predicted, predicted**2, np.abs(predicted - true) / true)


def intrinsics_compute(sums: IntrinsicsSums) -> IntrinsicsErrors:
    """Means and deviations over frames."""
    n = sums.frames
    mean = sums.values / n
    std = np.sqrt(np.maximum(sums.squares / n - mean**2, 0))
    return IntrinsicsErrors(n, mean, std, sums.errors / n)


def normalised(
    intrinsics: Float[np.ndarray, "3 3"], height: int, width: int
) -> NDArray[np.float64]:
    """(fx/width, fy/height, cx/width, cy/height)."""
    size = np.array([width, height, width, height])
    return np.asarray(intrinsics.astype(np.float64)[(0, 1, 0, 1), (0, 1, 2, 2)] / size)
