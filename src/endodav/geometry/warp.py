"""Warping by depth and motion or by optical flow, and what stays visible, as pure functions.

Conventions on top of `camera`'s: a flow is [batch, 2, height, width] in pixels, channel 0 along x
and channel 1 along y (official programs have them the other way round); it says for each pixel of
one image how far from there its point lies in the other. Everything but `visible_mask` is
differentiable.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from endodav.geometry.camera import pixel_grid

DEPTH_EPS = 1e-7  # keeps a point in the camera's own plane from dividing by zero
BEYOND = 2.0  # in units where the image ends at 1: outside, as is all that is further out
MIN_COVERAGE = 0.95  # AF-SfMLearner (Shao et al., MedIA 2022): less means hidden in the other image

Flow = Float[Tensor, "batch 2 height width"]
Depth = Float[Tensor, "batch height width"]
Intrinsics = Float[Tensor, "batch 3 3"]
Pixels = Float[Tensor, "batch height width 2"]
Padding = Literal["border", "zeros"]


class Projection(NamedTuple):
    """Where the pixels of one image lie in another.

    Attributes:
        pixels: their coordinates (u, v) there, also outside the image.
        depth: their Z-depth there; not positive behind the camera, where `pixels` says nothing.
    """

    pixels: Pixels
    depth: Depth


def backproject(depth: Depth, intrinsics: Intrinsics) -> Float[Tensor, "batch height width 3"]:
    """The point behind every pixel, in the camera frame and the unit of `depth`.

    >>> K = torch.tensor([[[2.0, 0.0, 0.5], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]]])
    >>> backproject(torch.full((1, 1, 2), 4.0), K)[0, 0]
    tensor([[-1.,  0.,  4.],
            [ 1.,  0.,  4.]])
    """
    focal, centre = _focal_and_centre(intrinsics)
    rays = (_grid_like(depth) - centre) / focal
    return torch.cat([rays, torch.ones_like(rays[..., :1])], dim=-1) * depth.unsqueeze(-1)


def project(
    points: Float[Tensor, "batch height width 3"],
    intrinsics: Intrinsics,
    T_dst_from_src: Float[Tensor, "batch 4 4"],
) -> Projection:
    """Move points from frame `src` to frame `dst` and look at them there."""
    rotation, translation = T_dst_from_src[:, None, :3, :3], T_dst_from_src[:, None, None, :3, 3]
    points = points @ rotation.mT + translation
    focal, centre = _focal_and_centre(intrinsics)
    depth = points[..., 2]
    pixels = focal * points[..., :2] / (depth + DEPTH_EPS).unsqueeze(-1) + centre
    return Projection(pixels, depth)


def rigid_flow(
    depth: Depth, intrinsics: Intrinsics, T_dst_from_src: Float[Tensor, "batch 4 4"]
) -> Flow:
    """The flow from image `src` to image `dst` of a scene that does not move."""
    seen = project(backproject(depth, intrinsics), intrinsics, T_dst_from_src)
    return (seen.pixels - _grid_like(depth)).permute(0, 3, 1, 2)


def sampling_grid(
    pixels: Float[Tensor, "batch rows columns 2"], height: int, width: int
) -> Float[Tensor, "batch rows columns 2"]:
    """Pixels of an image of that size as -1..1 from its first to its last pixel centre.

    >>> sampling_grid(torch.tensor([[[[0.0, 4.0]]]]), 5, 3)
    tensor([[[[-1.,  1.]]]])
    """
    return 2 * pixels / pixels.new_tensor([width - 1, height - 1]) - 1


def sample(
    images: Float[Tensor, "batch channels height width"],
    pixels: Float[Tensor, "batch rows columns 2"],
    padding: Padding = "border",
    *,
    align_corners: bool = True,
) -> Float[Tensor, "batch channels rows columns"]:
    """Bilinear values of images between their pixels.

    Args:
        images: to look into.
        pixels: coordinates (u, v) in them.
        padding: outside lies the nearest pixel of the border, or zeros.
        align_corners: False stretches the image about its centre by half a pixel at the borders.

    >>> sample(torch.tensor([[[[1.0, 3.0]] * 2]]), torch.tensor([[[[0.5, 0.0]]]]))
    tensor([[[[2.]]]])
    """
    grid = sampling_grid(pixels, images.shape[2], images.shape[3])
    # The gradient at a coordinate that is no number crashes torch on the CPU.
    grid = grid.nan_to_num(nan=BEYOND).clamp(-BEYOND, BEYOND)
    return F.grid_sample(images, grid, "bilinear", padding, align_corners=align_corners)


def warp_by_flow(
    images: Float[Tensor, "batch channels height width"], flow: Flow, padding: Padding = "border"
) -> Float[Tensor, "batch channels height width"]:
    """Images as seen from where `flow` starts: each pixel takes the value it flows to."""
    return sample(images, flow_targets(flow), padding)


def flow_targets(flow: Flow) -> Pixels:
    """Where each pixel flows to."""
    return _grid_like(flow) + flow.permute(0, 2, 3, 1)


def splat_coverage(flow: Flow) -> Depth:
    """How many pixels flow to each pixel of the other image, by bilinear shares.

    What flows out of the image is lost, also the part of a share (Wang et al., CVPR 2018).

    >>> splat_coverage(torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 1, 3))
    tensor([[[0., 1., 1.]]])
    """
    height, width = flow.shape[2:]
    targets = flow_targets(flow)
    first = targets.floor()
    coverage = flow.new_zeros(len(flow), height * width)
    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
        u, v = (first + first.new_tensor(corner)).unbind(-1)
        share = (1 - (targets[..., 0] - u).abs()) * (1 - (targets[..., 1] - v).abs())
        inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
        index = torch.where(inside, v * width + u, torch.zeros_like(u)).long()
        coverage = coverage.scatter_add(1, index.flatten(1), (share * inside).flatten(1))
    return coverage.view(-1, height, width)


def visible_mask(
    reverse_flow: Flow, minimum: float = MIN_COVERAGE
) -> Bool[Tensor, "batch height width"]:
    """Pixels that the other image shows too.

    Args:
        reverse_flow: from the other image to the one the mask is for.
        minimum: coverage above which a pixel counts as seen.
    """
    return splat_coverage(reverse_flow) > minimum


def forward_backward_error(forward: Flow, backward: Flow, *, align_corners: bool = True) -> Flow:
    """How far, along x and y, going there and back again ends from the start; 0 if consistent.

    Args:
        forward: from one image to the other.
        backward: from the other to the one.
        align_corners: False samples off by up to half a pixel, as EndoDAV's released program does.
    """
    there = sample(backward, flow_targets(forward), align_corners=align_corners)
    return (forward + there).abs()


def _grid_like(x: Tensor) -> Float[Tensor, "height width 2"]:
    height, width = x.shape[-2:]
    return pixel_grid(height, width, x.device)


def _focal_and_centre(
    intrinsics: Intrinsics,
) -> tuple[Float[Tensor, "batch 1 1 2"], Float[Tensor, "batch 1 1 2"]]:
    diagonal = intrinsics.diagonal(dim1=1, dim2=2)[:, None, None, :2]
    return diagonal, intrinsics[:, None, None, :2, 2]
