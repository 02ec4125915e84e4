"""Scale, shift and cross-fade between windows: pure functions.

A relative depth model is free to choose another scale and shift for every window. The later window
is brought to the earlier one by the least-squares fit min sum (s x + t - y)^2 over shared frames,
clamped at 0 because inverse depth has no negative values, and faded in linearly over the overlap
(Video Depth Anything, sec. 3.3; EndoDAV, sec. 2.2).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, float64
from torch.nn.functional import interpolate

from endodav.errors import AlignmentWarning

# Below this share of the mean square, the spread of a float32 depth map is rounding noise.
FLATNESS = 1e-12

DepthTensor = Float[Tensor, "height width"]


@dataclass(frozen=True)
class Affine:
    """y = scale x + shift."""

    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class Moments:
    """Sums over pixels that decide a least-squares line from x to y; they add up over frames.

    Attributes:
        n: number of pixels.
        x: sum of x; `y`, `xx` and `xy` accordingly.
        y: sum of y.
        xx: sum of squares of x.
        xy: sum of products.
    """

    n: int = 0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.n + other.n,
            self.x + other.x,
            self.y + other.y,
            self.xx + other.xx,
            self.xy + other.xy,
        )


FitFunction = Callable[[Moments], Affine]


def moments(x: DepthTensor, y: DepthTensor) -> Moments:
    """Sums of one pair of maps, accumulated in float64 on the CPU (MPS has no float64).

    The products are float32: their rounding is independent from pixel to pixel, and what a fit
    loses is in the accumulation.
    """
    x, y = x.cpu(), y.cpu()
    sums = (values.sum(dtype=float64).item() for values in (x, y, x * x, x * y))
    return Moments(x.numel(), *sums)


def least_squares(m: Moments) -> Affine:
    """Scale and shift that minimise sum (scale x + shift - y)^2, whatever they are.

    A constant x leaves them undetermined; then scale is 1 and the shift matches the means.
    """
    determinant = m.n * m.xx - m.x * m.x
    if determinant <= FLATNESS * m.n * m.xx:
        return Affine(1.0, (m.y - m.x) / m.n)
    scale = (m.n * m.xy - m.x * m.y) / determinant
    return Affine(scale, (m.y - scale * m.x) / m.n)


def guarded_fit(m: Moments) -> Affine:
    """`least_squares`, but where it would destroy the depth, a scale that matches the means.

    A scale of 0 or less would flatten a window or turn it inside out (near becomes far). It comes
    from flat maps or from windows that contradict each other, and the official programs apply it
    unseen.

    Warns:
        AlignmentWarning: the fit was not used.
    """
    fit = least_squares(m)
    flat = m.n * m.xx - m.x * m.x <= FLATNESS * m.n * m.xx
    if fit.scale > 0 and not flat:
        return fit
    warnings.warn(
        "Two windows do not agree up to a positive scale (flat or contradictory depth), "
        "so their mean depth was matched instead; expect a seam there.",
        AlignmentWarning,
        stacklevel=2,
    )
    if m.x > 0 and m.y > 0:
        return Affine(m.y / m.x, 0.0)
    return Affine(1.0, (m.y - m.x) / m.n)


def cross_fade(earlier: DepthTensor, later: DepthTensor, weight: float) -> DepthTensor:
    """(1 - weight) earlier + weight later."""
    return (1.0 - weight) * earlier + weight * later


def resize_depth(depth: DepthTensor, size: tuple[int, int]) -> Float[Tensor, "rows columns"]:
    """Bilinear, aligned corners, to (height, width), as the official programs do."""
    if tuple(depth.shape) == size:
        return depth
    return interpolate(depth[None, None], size, mode="bilinear", align_corners=True)[0, 0]


@dataclass(frozen=True)
class Estimate:
    """What a window says about a frame, kept small: the network's map and how it is aligned.

    The official programs resize every map to frame size before they fit and clamp. Resizing
    commutes with scale and shift but not with the clamp, so the order is kept and only the moment
    is put off: a map stays at network size until its frame is written, and one full-size map exists
    at a time.

    Attributes:
        values: the network's map, >= 0 or not, [height, width].
        affine: brings the values to the scale of the whole video.
    """

    values: DepthTensor
    affine: Affine = Affine()

    def at(self, size: tuple[int, int]) -> Float[Tensor, "rows columns"]:
        """Aligned depth at (height, width), >= 0."""
        resized = resize_depth(self.values, size)
        if self.affine != Affine():
            resized = resized * self.affine.scale + self.affine.shift
        return resized.clamp(min=0.0)

    def kept(self) -> Estimate:
        """The same with storage of its own, so that it does not hold its whole window."""
        return Estimate(self.values.clone(), self.affine)
