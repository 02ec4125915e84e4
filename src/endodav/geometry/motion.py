"""The motion of a camera between two images whose depth is known: direct image alignment.

Gauss-Newton on the difference of brightness, from coarse to fine (Steinbruecker et al., ICCV
Workshops 2011; Kerl et al., ICRA 2013). Images are first normalised in small windows, because an
endoscope brings its light along: what comes nearer is brighter. Pure functions without gradients;
conventions are those of `camera` and `warp`.
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
COARSEST, FINEST = 12, 128  # rows or columns of the shorter side, about
ITERATIONS = 6  # of a level
DAMPING = 1e-3  # Levenberg-Marquardt's, relative to the diagonal
LEAST_SEEN = 0.3  # of the usable pixels have to land in the other image
LEAST_SCALE = 1e-2  # of the robust weights, in deviations of brightness
FOCAL_DEVIATION = 0.3  # of the logarithm of the focal length, before anything is seen
CORRELATED = 25.0  # neighbouring residuals that tell as much as one

Image = Float[Tensor, "batch 3 height width"]
Depth = Float[Tensor, "batch height width"]
Mask = Bool[Tensor, "batch 1 height width"]
Intrinsics = Float[Tensor, "batch 3 3"]
Pose = Float[Tensor, "batch 4 4"]


class Alignment(NamedTuple):
    """What makes two images look alike.

    Attributes:
        T_neighbour_from_target: motion, its translation in the unit of depth.
        intrinsics: with other focal lengths, where these were asked for.
        error: robust mean of the remaining difference; 1 at worst.
    """

    T_neighbour_from_target: Pose
    intrinsics: Intrinsics
    error: Float[Tensor, " batch"]


class _Level(NamedTuple):
    """One size of the pyramid."""

    target: Float[Tensor, "batch 1 rows columns"]
    neighbour: Float[Tensor, "batch 3 rows columns"]  # with its derivatives along x and y
    depth: Float[Tensor, "batch rows columns"]
    usable: Bool[Tensor, "batch rows columns"]
    seen: Float[Tensor, "batch 1 rows columns"]
    scale: Float[Tensor, "3 3"]  # from full-size intrinsics


@torch.no_grad()
def align(
    target: Image,
    neighbour: Image,
    depth: Depth,
    intrinsics: Intrinsics,
    T_neighbour_from_target: Pose,
    *,
    target_usable: Mask,
    neighbour_usable: Mask,
    focal: bool = False,
) -> Alignment:
    """Improve a guess of the motion; where nothing better is found, the guess comes back.

    Args:
        target: RGB in 0..1.
        neighbour: the same a little earlier or later.
        depth: Z-depth of the target, positive, in any unit.
        intrinsics: of the camera of both, in pixels.
        T_neighbour_from_target: the guess, in the unit of depth.
        target_usable: pixels of the target to compare.
        neighbour_usable: pixels of the neighbour to compare with.
        focal: whether the focal lengths may change as well, by one factor.
    """
    unit = depth.flatten(1).median(dim=1).values
    T = T_neighbour_from_target.clone()
    T[:, :3, 3] /= unit[:, None]
    depth = depth / unit[:, None, None]
    stretch = torch.zeros_like(unit)  # logarithm of the factor of the focal lengths
    error = torch.ones_like(unit)
    for level in _levels(target, neighbour, depth, target_usable, neighbour_usable):
        T, stretch, error = _descend(level, intrinsics, T, stretch, focal)
    T[:, :3, 3] *= unit[:, None]
    return Alignment(T, _stretched(intrinsics, stretch), error)


def _descend(
    level: _Level, intrinsics: Intrinsics, T: Pose, stretch: Tensor, focal: bool
) -> tuple[Pose, Tensor, Tensor]:
    """The best of the guess and what Gauss-Newton makes of it, with its error."""
    best = T, stretch
    least = torch.full_like(stretch, torch.inf)
    for iteration in range(ITERATIONS + 1):
        K = level.scale @ _stretched(intrinsics, stretch)
        residual, weight, jacobian, error = _linearised(level, K, T)
        better = error < least
        least = torch.where(better, error, least)
        best = (
            torch.where(better[:, None, None], T, best[0]),
            torch.where(better, stretch, best[1]),
        )
        if iteration == ITERATIONS:
            break
        step = _solved(residual, weight, jacobian, stretch, focal)
        T = rigid(rotation_from_axis_angle(step[:, 3:6]), step[:, :3]) @ T
        stretch = stretch + step[:, 6]
    return *best, least


def _linearised(
    level: _Level, K: Intrinsics, T: Pose
) -> tuple[Tensor, Tensor, Float[Tensor, "batch pixels 7"], Tensor]:
    """Residuals, their robust weights, their derivatives, and the robust mean error.

    The unknowns: translation and rotation that follow T, and the logarithm of the focal length.
    """
    points = backproject(level.depth, K)
    seen = project(points, K, T)
    values, slope_x, slope_y = sample(level.neighbour, seen.pixels).unbind(1)
    usable = sample(level.seen, seen.pixels, "zeros")[:, 0] > 0.99
    valid = (level.usable & usable & (seen.depth > 0.05)).flatten(1)
    residual = (values - level.target[:, 0]).flatten(1)
    scale = _median(residual.abs(), valid).clamp(min=LEAST_SCALE)[:, None] * 1.4826
    share = (residual / (2 * scale)).square()
    weight = valid / (1 + share) ** 2 / (scale.square() * CORRELATED)  # Geman-McClure
    whole = level.usable.flatten(1).sum(dim=1).clamp(min=1)
    size = residual.abs().clamp(max=1)
    error = torch.where(valid, size, torch.ones_like(size)) * level.usable.flatten(1)
    error = error.sum(dim=1) / whole
    error = torch.where(valid.sum(dim=1) > LEAST_SEEN * whole, error, torch.full_like(error, 2.0))

    moved = points @ T[:, None, :3, :3].mT + T[:, None, None, :3, 3]
    x, y, z = moved.unbind(-1)
    z = z.clamp(min=0.05)
    fx, fy = K[:, 0, 0, None, None], K[:, 1, 1, None, None]
    along_x, along_y = slope_x * fx / z, slope_y * fy / z
    along_z = -(along_x * x + along_y * y) / z
    flat = torch.zeros_like(points[..., 2])
    before = torch.stack([-points[..., 0], -points[..., 1], flat], dim=-1)
    shifted = before @ T[:, None, :3, :3].mT  # of a point, as the focal length grows
    by_focal = (
        slope_x * fx * x / z
        + slope_y * fy * y / z
        + (torch.stack([along_x, along_y, along_z], dim=-1) * shifted).sum(dim=-1)
    )
    columns = [
        along_x,
        along_y,
        along_z,
        y * along_z - z * along_y,
        z * along_x - x * along_z,
        x * along_y - y * along_x,
        by_focal,
    ]
    jacobian = torch.stack([column.flatten(1) for column in columns], dim=-1)
    return residual, weight, jacobian, error


def _solved(
    residual: Tensor, weight: Tensor, jacobian: Tensor, stretch: Tensor, focal: bool
) -> Float[Tensor, "batch 7"]:
    """The damped Gauss-Newton step."""
    weighted = (jacobian * weight[..., None]).mT
    H = weighted @ jacobian
    g = (weighted @ residual[..., None])[..., 0]
    prior = FOCAL_DEVIATION**-2
    H[:, 6, 6] += prior
    g[:, 6] += prior * stretch
    if not focal:
        H[:, 6, :6] = H[:, :6, 6] = 0
        g[:, 6] = 0
    diagonal = H.diagonal(dim1=1, dim2=2)
    H = H + torch.diag_embed(DAMPING * diagonal + 1e-6)
    step: Tensor = -torch.linalg.solve(H, g)
    return step.clamp(-0.3, 0.3)


def _levels(
    target: Image, neighbour: Image, depth: Depth, target_usable: Mask, neighbour_usable: Mask
) -> list[_Level]:
    """The sizes to align at, the coarsest first."""
    height, width = depth.shape[-2:]
    sizes = [(height, width)]
    while min(sizes[-1]) >= 2 * COARSEST:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    sizes = [size for size in sizes if min(size) <= FINEST] or sizes[-1:]
    return [
        _level(target, neighbour, depth, target_usable, neighbour_usable, size)
        for size in reversed(sizes)
    ]


def _level(
    target: Image,
    neighbour: Image,
    depth: Depth,
    target_usable: Mask,
    neighbour_usable: Mask,
    size: tuple[int, int],
) -> _Level:
    def shrunk(x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, size)

    own, other = (
        _normalised(shrunk(image.mean(dim=1, keepdim=True))) for image in (target, neighbour)
    )
    padded = F.pad(other, (1, 1, 1, 1), mode="replicate")
    slope_x = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    slope_y = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    height, width = depth.shape[-2:]
    sx, sy = size[1] / width, size[0] / height
    scale = depth.new_tensor([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
    return _Level(
        own,
        torch.cat([other, slope_x, slope_y], dim=1),
        1 / shrunk(1 / depth[:, None])[:, 0],
        (shrunk(target_usable.to(depth.dtype)) > 0.99)[:, 0],
        (shrunk(neighbour_usable.to(depth.dtype)) > 0.99).to(depth.dtype),
        scale,
    )


def _normalised(x: Float[Tensor, "batch 1 rows columns"]) -> Float[Tensor, "batch 1 rows columns"]:
    """Deviation from the mean of its window, in units of the window's own deviation."""

    def mean(values: Tensor) -> Tensor:
        padding = (WINDOW // 2,) * 4
        return F.avg_pool2d(F.pad(values, padding, mode="replicate"), WINDOW, 1)

    centred = x - mean(x)
    return centred / (mean(centred.square()) + FLAT**2).sqrt()


def _stretched(intrinsics: Intrinsics, stretch: Float[Tensor, " batch"]) -> Intrinsics:
    """With focal lengths times exp(stretch)."""
    factor = torch.ones_like(intrinsics[:, 0])
    factor[:, :2] = stretch.exp()[:, None]
    K = intrinsics.clone()
    K.diagonal(dim1=1, dim2=2).mul_(factor)
    return K


def _median(values: Tensor, valid: Tensor) -> Float[Tensor, " batch"]:
    return torch.where(valid, values, torch.nan).nanmedian(dim=1).values.nan_to_num(1.0)
