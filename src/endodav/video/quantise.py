"""Depth in 16 bits, online: `value = code * full_scale / 65535`, with a full scale that grows.

A 16-bit file needs a range before the last frame is known. Holding the video is out of the
question and clipping is silent loss, so the range may change on the way and every frame says its
own: the first frame that is not all zero chooses the smallest power of two that is at least twice
its maximum, and the scale is doubled from any frame on that would exceed it. Rounding errs by at
most half a code, `full_scale / 131070`, which is at most 2**-15 of the frame's maximum when the
scale is chosen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt16

from endodav.errors import OutputError
from endodav.types import DepthMap

CodeMap = UInt16[np.ndarray, "height width"]

LARGEST_CODE = 65535
SCHEME = "value = code * full_scale / 65535"


@dataclass
class Quantiser:
    """Codes frame after frame, and remembers from which frame on which full scale holds.

    Attributes:
        segments: (first frame, full scale), in order; the first starts at frame 0.
    """

    segments: list[tuple[int, float]] = field(default_factory=list)
    _frame_count: int = 0

    @property
    def full_scale(self) -> float:
        """Full scale of the last frame that was coded; 0 before it and while everything is zero."""
        return self.segments[-1][1] if self.segments else 0.0

    def encode(self, values: DepthMap) -> CodeMap:
        """Codes of the next frame, after the full scale has been adapted to it."""
        full_scale = next_full_scale(self.full_scale, float(values.max()))
        if not self.segments or full_scale != self.full_scale:
            self.segments.append((self._frame_count, full_scale))
        self._frame_count += 1
        return encode(values, full_scale)


def next_full_scale(full_scale: float, peak: float) -> float:
    """The full scale of a frame, given that of the frame before.

    Args:
        full_scale: scale so far; 0 where no frame had a value above zero yet.
        peak: maximum of the frame, finite, in the units of the values.

    Returns:
        0 while everything is zero, else a power of two of at least `peak`, never below
        `full_scale`.
    """
    if peak <= full_scale:
        return full_scale
    if full_scale == 0:
        mantissa, exponent = math.frexp(
            2 * peak
        )  # 2 * peak = mantissa * 2**exponent, mantissa >= 1/2
        return math.ldexp(1.0, exponent - (mantissa == 0.5))
    while full_scale < peak:
        full_scale *= 2
    return full_scale


def encode(values: DepthMap, full_scale: float) -> CodeMap:
    """Values in 0..full_scale to the nearest 16-bit code.

    Raises:
        OutputError: a value is negative; 16-bit codes have no sign.
    """
    if float(values.min()) < 0:
        raise OutputError(
            "The 16-bit formats cannot hold negative depth: choose --format npz, zarr or exr."
        )
    if full_scale == 0:
        return np.zeros(values.shape, np.uint16)
    scaled = values.astype(np.float64)
    scaled *= LARGEST_CODE / full_scale
    return np.rint(scaled, out=scaled).astype(np.uint16)


def decode(codes: CodeMap, full_scale: float) -> DepthMap:
    """16-bit codes to values, the inverse of `encode` up to rounding."""
    return (codes * (full_scale / LARGEST_CODE)).astype(np.float32)
