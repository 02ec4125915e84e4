"""Depth and inverse depth, one made of the other, and maps at another size."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from endodav.types import Kind

# The farthest depth that a prediction of inverse depth can mean, as a multiple of the nearest of
# its frame: inverse depth below 1 % of the maximum is cut.
FARTHEST = 100.0
NEAREST_SHARE = 1e-6  # of a frame's largest depth; keeps 1 / depth finite and changes nothing else

Map = Float[np.ndarray, "height width"]
Numbers = Float[np.ndarray, "..."]


def converted(
    values: Numbers, largest: float, kind: Kind, space: Kind
) -> NDArray[np.floating[Any]]:
    """Predicted values as depth or inverse depth, finite for every input.

    A prediction of inverse depth may be zero, and one zero would own the least-squares fit that
    follows. So it is cut at a hundredth of the frame's maximum: relative, because its scale means
    nothing, and low, because the end of a lumen is rarely fifty times as far as the nearest wall.
    Depth of zero or less counts as very near. A frame without any positive value becomes constant.

    Args:
        values: of a frame.
        largest: of all values of the frame.
        kind: what they are.
        space: what they shall be.
    """
    if kind is space:
        return np.asarray(values)
    if largest <= 0:
        return np.ones_like(values)
    least = largest * (NEAREST_SHARE if kind is Kind.DEPTH else 1 / FARTHEST)
    raised = np.maximum(values, values.dtype.type(least))
    return np.asarray(np.reciprocal(raised, out=raised))


def resized(prediction: Map, height: int, width: int) -> Float[np.ndarray, "new_height new_width"]:
    """The prediction at another size: bilinear, corners not aligned, as the benchmarks do."""
    if prediction.shape == (height, width):
        return prediction
    values = torch.from_numpy(np.ascontiguousarray(prediction))[None, None]
    result = torch.nn.functional.interpolate(values, (height, width), mode="bilinear")
    return np.asarray(result[0, 0].numpy())
