"""Depth that agrees between frames: EndoDAV's projection loss (MICCAI 2025, eq. 1-3).

The depth of one frame, moved into another by the camera's motion, must be the depth that the other
frame has there. Pure functions; `T_dst_from_src` is the pose from frame `src` to frame `dst`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from endodav.geometry.camera import invert
from endodav.geometry.warp import backproject, flow_targets, project, sample

MIN_SAMPLED = 1e-3  # EndoDAV: what was sampled below this is no depth, or outside the image

Depth = Float[Tensor, "batch height width"]
Intrinsics = Float[Tensor, "batch 3 3"]
Pose = Float[Tensor, "batch 4 4"]


class DepthError(NamedTuple):
    """How far depths disagree.

    Attributes:
        values: absolute difference at each pixel of `src`, in the unit of depth.
        valid: where it means something, because the other image shows the point.
        both: sum of the two depths that are compared.
    """

    values: Depth
    valid: Bool[Tensor, "batch height width"]
    both: Depth

    def mean(self) -> Float[Tensor, ""]:
        """Mean over the valid pixels of the batch; 0 where there is none."""
        return self._mean_of(self.values)

    def relative(self) -> Float[Tensor, ""]:
        """Mean of |a - b| / (a + b) for depths a and b, in 0..1 (Bian et al., NeurIPS 2019).

        Unlike `mean` it does not fall when all depths and motions shrink.
        """
        return self._mean_of(self.values / self.both.clamp(min=MIN_SAMPLED))

    def _mean_of(self, values: Depth) -> Float[Tensor, ""]:
        kept = torch.where(self.valid, values, torch.zeros_like(values))
        return kept.sum() / self.valid.sum().clamp(min=1)


def reprojection_error(
    depth_src: Depth,
    depth_dst: Depth,
    intrinsics: Intrinsics,
    T_dst_from_src: Pose,
    *,
    as_released: bool = False,
) -> DepthError:
    """Depth of `src` seen from `dst` against the depth of `dst` at the pixels it projects to.

    Args:
        depth_src: Z-depth of each pixel of `src`.
        depth_dst: the same of `dst`.
        intrinsics: of the camera of both.
        T_dst_from_src: motion, its translation in the unit of depth.
        as_released: count whatever samples some depth, as EndoDAV's released program does: also on
            the image border, where zeros are blended in, and points behind the camera.
    """
    seen = project(backproject(depth_src, intrinsics), intrinsics, T_dst_from_src)
    found = sample(depth_dst.unsqueeze(1), seen.pixels, "zeros")[:, 0]
    valid = found > MIN_SAMPLED
    if not as_released:
        valid &= _inside(seen.pixels) & (seen.depth > 0)
    return DepthError((seen.depth - found).abs(), valid, seen.depth + found)


def projection_loss(
    depth_src: Depth,
    depth_dst: Depth,
    intrinsics: Intrinsics,
    T_dst_from_src: Pose,
) -> Float[Tensor, ""]:
    """Mean of the reprojection errors in both directions (EndoDAV, eq. 1-3)."""
    there = reprojection_error(depth_src, depth_dst, intrinsics, T_dst_from_src)
    back = reprojection_error(depth_dst, depth_src, intrinsics, invert(T_dst_from_src))
    return (there.mean() + back.mean()) / 2


def flow_depth_error(
    depth_src: Depth,
    depth_dst: Depth,
    flow: Float[Tensor, "batch 2 height width"],
    *,
    as_released: bool = False,
) -> DepthError:
    """Depth of `src` against the depth of `dst` where the flow from `src` to `dst` leads.

    Motion along the optical axis counts as an error, so EndoDAV gives it no weight by default.

    Args:
        depth_src: Z-depth of each pixel of `src`.
        depth_dst: the same of `dst`.
        flow: (x, y) in pixels.
        as_released: count what lies on the image border, as for `reprojection_error`.
    """
    pixels = flow_targets(flow)
    found = sample(depth_dst.unsqueeze(1), pixels, "zeros")[:, 0]
    valid = found > MIN_SAMPLED
    if not as_released:
        valid &= _inside(pixels)
    return DepthError((depth_src - found).abs(), valid, depth_src + found)


def _inside(pixels: Float[Tensor, "batch height width 2"]) -> Bool[Tensor, "batch height width"]:
    """Between the outermost pixel centres, so that sampling blends in nothing from outside."""
    height, width = pixels.shape[1:3]
    last = pixels.new_tensor([width - 1, height - 1])
    return ((pixels >= 0) & (pixels <= last)).all(dim=-1)
