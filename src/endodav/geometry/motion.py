"""The motion of a camera between two images, one with depth: direct image alignment.

Gauss-Newton on the difference of brightness, from coarse to fine, with robust weights
(Steinbruecker et al., ICCV Workshops 2011; Kerl et al., ICRA 2013). Brightness is first normalised
in small windows, because an endoscope brings its light along: what comes nearer gets brighter.
Conventions are those of `camera` and `warp`; there are no gradients.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from endodav.geometry.camera import rigid, rotation_from_axis_angle
from endodav.geometry.warp import backproject, project, sample

WINDOW = 9  # pixels of the normalisation
FLAT = 0.02  # deviation of brightness, in 0..1, below which a window shows rather noise
COARSEST, FINEST = 12, 128  # pixels of the shorter side: at least, and at most where one can choose
STEPS = 6  # at each size
DAMPING = 1e-3  # Levenberg and Marquardt's, as a share of the diagonal
NEAREST = 0.05  # median depths from the camera; what comes closer says nothing
LONGEST = 0.3  # radians and median depths of a step
LEAST_SEEN = 0.3  # of the usable pixels have to lie in the other image
LEAST_SPREAD = 1e-2  # of residuals, in deviations of brightness
GAUSSIAN = 1.4826  # deviation over median absolute deviation
USABLE = 0.99  # of what is averaged or sampled has to be
UNSEEN_ERROR = 1.0  # of a pixel that leaves the image, and the most that any pixel has

Image = Float[Tensor, "batch 3 height width"]
Depth = Float[Tensor, "batch height width"]
Mask = Bool[Tensor, "batch 1 height width"]
Intrinsics = Float[Tensor, "batch 3 3"]
Pose = Float[Tensor, "batch 4 4"]
Sizes = tuple[int, int]


class Alignment(NamedTuple):
    """What makes two images look alike.

    Attributes:
        T_neighbour_from_target: motion, its translation in the unit of depth.
        error: mean difference of normalised brightness that is left, 1 at worst; infinite where
            too little of the target is seen in the neighbour.
    """

    T_neighbour_from_target: Pose
    error: Float[Tensor, " batch"]


class _Level(NamedTuple):
    """Both images at one size."""

    target: Float[Tensor, "batch rows columns"]
    target_usable: Bool[Tensor, "batch rows columns"]
    neighbour: Float[Tensor, "batch 4 rows columns"]  # with slopes along x and y, and usable or not
    depth: Float[Tensor, "batch rows columns"]  # in its median


class Pyramid(NamedTuple):
    """Two images at several sizes, ready to be aligned by any intrinsics.

    Attributes:
        levels: the coarsest first.
        unit: the depths' medians, in which they are counted.
        size: of the whole images.
    """

    levels: list[_Level]
    unit: Float[Tensor, "batch 1"]
    size: Sizes


class _Linear(NamedTuple):
    """Differences of brightness at some motion, and how they change as the camera moves on."""

    residuals: Float[Tensor, "batch pixels"]
    weights: Float[Tensor, "batch pixels"]
    slopes: Float[Tensor, "batch pixels 6"]  # by translation, by rotation
    error: Float[Tensor, " batch"]


@torch.no_grad()
def pyramid(
    target: Image,
    neighbour: Image,
    depth: Depth,
    *,
    target_usable: Mask,
    neighbour_usable: Mask,
    finest: int = FINEST,
) -> Pyramid:
    """What `align` compares.

    Args:
        target: RGB in 0..1.
        neighbour: the same a little earlier or later.
        depth: Z-depth of the target, positive, in any unit.
        target_usable: pixels of the target to compare.
        neighbour_usable: pixels of the neighbour to compare with.
        finest: pixels of the shorter side at most, where the images can be halved.
    """
    unit = depth.flatten(1).median(dim=1).values[:, None]
    depth = depth / unit[..., None]
    whole = target.shape[-2], target.shape[-1]
    levels = [
        _Level(
            _brightness(target, size),
            _shrunk(target_usable.to(depth.dtype), size) > USABLE,
            _with_slopes(neighbour, neighbour_usable, size),
            1 / _shrunk(1 / depth.unsqueeze(1), size),
        )
        for size in _sizes(*whole, finest)
    ]
    return Pyramid(levels, unit, whole)


@torch.no_grad()
def align(images: Pyramid, intrinsics: Intrinsics) -> Alignment:
    """The motion under which the neighbour, warped by depth, looks like the target.

    Args:
        images: of both, and depth.
        intrinsics: of the camera of both, in pixels of the whole images.

    Returns:
        The best found from standing still on; never worse than what the coarser sizes led to.
    """
    unit = images.unit
    T = torch.eye(4, dtype=unit.dtype, device=unit.device).repeat(len(unit), 1, 1)
    for level in images.levels:
        size = level.depth.shape[-2], level.depth.shape[-1]
        T, error = _descended(level, _resized(intrinsics, images.size, size), T)
    return Alignment(rigid(T[:, :3, :3], T[:, :3, 3] * unit), error)


def _descended(level: _Level, K: Intrinsics, T: Pose) -> tuple[Pose, Float[Tensor, " batch"]]:
    """The best motion on the way of Gauss-Newton, and its error."""
    best, least = T, torch.full_like(T[:, 0, 0], torch.inf)
    for step in range(STEPS + 1):
        now = _linear(level, K, T)
        better = now.error < least
        best = torch.where(better[:, None, None], T, best)
        least = torch.where(better, now.error, least)
        if step < STEPS:
            change = _gauss_newton(now)
            T = rigid(rotation_from_axis_angle(change[:, 3:]), change[:, :3]) @ T
    return best, least


def _linear(level: _Level, K: Intrinsics, T: Pose) -> _Linear:
    points = backproject(level.depth, K)
    seen = project(points, K, T)
    brightness, slope_x, slope_y, usable = sample(level.neighbour, seen.pixels, "zeros").unbind(1)
    valid = level.target_usable & (usable > USABLE) & (seen.depth > NEAREST)
    residuals = brightness - level.target

    # How brightness changes with the point behind a pixel, and that with translation and rotation.
    x, y, z = (points @ T[:, None, :3, :3].mT + T[:, None, None, :3, 3]).unbind(-1)
    z = z.clamp(min=NEAREST)
    by_x = slope_x * K[:, 0, 0, None, None] / z
    by_y = slope_y * K[:, 1, 1, None, None] / z
    by_z = -(by_x * x + by_y * y) / z
    turns = (y * by_z - z * by_y, z * by_x - x * by_z, x * by_y - y * by_x)
    slopes = torch.stack([by_x, by_y, by_z, *turns], dim=-1)

    valid, residuals = valid.flatten(1), residuals.flatten(1)
    return _Linear(
        residuals,
        _robust_weights(residuals, valid),
        slopes.flatten(1, 2),
        _error(residuals, valid, level.target_usable.flatten(1)),
    )


def _robust_weights(residuals: Tensor, valid: Tensor) -> Float[Tensor, "batch pixels"]:
    """Geman and McClure's, their scale by the median; 0 where nothing is to be compared."""
    sizes = torch.where(valid, residuals.abs(), torch.nan)
    spread = GAUSSIAN * sizes.nanmedian(dim=1, keepdim=True).values.nan_to_num(1.0)
    share = residuals / (2 * spread.clamp(min=LEAST_SPREAD))
    return valid / (1 + share.square()).square()


def _error(residuals: Tensor, valid: Tensor, usable: Tensor) -> Float[Tensor, " batch"]:
    """Mean over what should be seen; what is not, is wholly wrong."""
    sizes = torch.where(valid, residuals.abs().clamp(max=UNSEEN_ERROR), UNSEEN_ERROR) * usable
    whole = usable.sum(dim=1)
    enough = valid.sum(dim=1) > LEAST_SEEN * whole
    return torch.where(enough, sizes.sum(dim=1) / whole.clamp(min=1), torch.inf)


def _gauss_newton(now: _Linear) -> Float[Tensor, "batch 6"]:
    weighted = (now.slopes * now.weights[..., None]).mT
    H = weighted @ now.slopes
    g = (weighted @ now.residuals[..., None])[..., 0]
    H = H + torch.diag_embed(DAMPING * H.diagonal(dim1=1, dim2=2) + torch.finfo(H.dtype).eps)
    step: Tensor = -torch.linalg.solve_ex(H, g).result
    return step.nan_to_num(0.0, 0.0, 0.0).clamp(-LONGEST, LONGEST)


def _with_slopes(image: Image, usable: Mask, size: Sizes) -> Float[Tensor, "batch 4 _ _"]:
    """Normalised brightness, its slopes along x and y, and 1 where it may be used."""
    brightness = _brightness(image, size)
    padded = F.pad(brightness.unsqueeze(1), (1, 1, 1, 1), mode="replicate")[:, 0]
    slope_x = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    slope_y = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    kept = (_shrunk(usable.to(image.dtype), size) > USABLE).to(image.dtype)
    return torch.stack([brightness, slope_x, slope_y, kept], dim=1)


def _brightness(image: Image, size: Sizes) -> Float[Tensor, "batch _ _"]:
    """Normalised, at a size."""
    return _normalised(_shrunk(image.mean(dim=1, keepdim=True), size))


def _normalised(x: Float[Tensor, "batch rows columns"]) -> Float[Tensor, "batch rows columns"]:
    """Deviation from the mean of its window, in units of the window's own deviation."""

    def mean(values: Tensor) -> Tensor:
        padded = F.pad(values.unsqueeze(1), (WINDOW // 2,) * 4, mode="replicate")
        return F.avg_pool2d(padded, WINDOW, 1)[:, 0]

    centred = x - mean(x)
    return centred / (mean(centred.square()) + FLAT**2).sqrt()


def _shrunk(x: Float[Tensor, "batch 1 height width"], size: Sizes) -> Float[Tensor, "batch _ _"]:
    return F.adaptive_avg_pool2d(x, size)[:, 0]


def _sizes(height: int, width: int, finest: int) -> list[Sizes]:
    """The sizes to align at, each half of the next; the coarsest first."""
    sizes = [(height, width)]
    while min(sizes[-1]) >= 2 * COARSEST:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return [size for size in reversed(sizes) if min(size) <= finest]


def _resized(intrinsics: Intrinsics, whole: Sizes, size: Sizes) -> Intrinsics:
    """Intrinsics in pixels of another size; the corners of the image stay its corners."""
    sy, sx = size[0] / whole[0], size[1] / whole[1]
    scale = intrinsics.new_tensor([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
    return scale @ intrinsics
