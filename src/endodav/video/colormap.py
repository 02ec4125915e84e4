"""Colour for depth previews: near is bright, and one range for the whole video.

Colour is linear in inverse depth for both kinds of output, so a colour means the same in both.
The range is fitted to the first frames and then fixed, because a range fitted to each frame
flickers and hides motion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cmap
import numpy as np
from jaxtyping import Float32, UInt8

from endodav.errors import OutputError
from endodav.types import DepthMap, Kind, RGBImage

LookupTable = UInt8[np.ndarray, "256 3"]

COARSE_PERCENTILES = (1.0, 99.0)  # a few wrong pixels must not set the range
HEAD_ROOM = 0.15  # of that span, added at both ends for what the first frames do not show yet
SAMPLES_PER_FRAME = 4096


@dataclass(frozen=True, eq=False)
class ColourScale:
    """A fixed map from depth values to colours.

    Attributes:
        kind: what the values are; depth is inverted first.
        colormap: name of the colour map.
        low: inverse depth of the darkest colour, in the values' own units (or one over them).
        high: inverse depth of the brightest colour.
        table: sRGB colours from far to near.
    """

    kind: Kind
    colormap: str
    low: float
    high: float
    table: LookupTable

    def paint(self, values: DepthMap) -> RGBImage:
        """Colours of a depth map; values outside the range take the colour of its nearer end."""
        return np.take(self.table, self.positions(values), axis=0)  # far faster than indexing

    def positions(self, values: DepthMap) -> UInt8[np.ndarray, "height width"]:
        """Index into the 256 colours of every value, 0 for far to 255 for near."""
        place = _nearness(values, self.kind) - np.float32(self.low)
        place /= np.float32(self.high - self.low)
        np.clip(place, 0, 1, out=place)
        place *= 255
        return np.rint(place, out=place).astype(np.uint8)

    def count_outside(self, values: DepthMap) -> int:
        """Number of pixels beyond either end of the range."""
        nearness = _nearness(values, self.kind)
        return int(np.count_nonzero((nearness < self.low) | (nearness > self.high)))


def lookup_table(colormap: str) -> LookupTable:
    """The 256 sRGB colours of a colour map of the `cmap` library, by name.

    Raises:
        OutputError: there is no such colour map.
    """
    try:
        colours = cmap.Colormap(colormap).lut(256)
    except ValueError as error:
        raise OutputError(
            f"There is no colour map '{colormap}': choose a name from "
            "https://cmap-docs.readthedocs.io/en/stable/catalog, such as inferno or turbo."
        ) from error
    return np.asarray(np.rint(colours[:, :3] * 255), np.uint8)


def fit_colour_scale(
    first: Sequence[Float32[np.ndarray, "_ _"]], kind: Kind, colormap: str
) -> ColourScale:
    """Fit the range to the first frames: robust percentiles of inverse depth with head-room.

    Args:
        first: at least one depth map, [height, width] each; sizes may differ.
        kind: what the values are.
        colormap: name of the colour map.
    """
    samples = np.concatenate([_sample(_nearness(values, kind)) for values in first])
    lowest, highest = (float(edge) for edge in np.percentile(samples, COARSE_PERCENTILES))
    margin = HEAD_ROOM * (highest - lowest)
    low = max(lowest - margin, min(lowest, 0.0))  # inverse depth 0 is infinity: nothing lies beyond
    high = highest + margin
    if high - low <= 1e-6 * max(abs(low), abs(high)):  # a constant picture: mid-range
        low, high = (0.0, 2 * high) if high > 0 else (low - 1.0, low + 1.0)
    return ColourScale(kind, colormap, low, high, lookup_table(colormap))


def _nearness(values: DepthMap, kind: Kind) -> DepthMap:
    """Inverse depth of either kind; depth 0 becomes the largest number whose inverse is safe."""
    if kind is Kind.INVERSE_DEPTH:
        return values
    inverse: DepthMap = np.float32(1) / np.maximum(values, np.finfo(np.float32).tiny)
    return inverse


def _sample(values: DepthMap) -> Float32[np.ndarray, " pixels"]:
    """A regular grid of about `SAMPLES_PER_FRAME` pixels."""
    stride = max(1, math.isqrt(values.size // SAMPLES_PER_FRAME))
    return values[::stride, ::stride].reshape(-1)
