"""OPW: depth of one frame, warped by optical flow into the next, against the depth that is there.

opw = sum M |depth - warped| / sum M over pixels, a mean over neighbouring frames, in mm, with
M = exp(-50 |image - warped image|^2) where the flow stays inside the image: pixels that look
different are hidden or lit differently (Lai et al., ECCV 2018; NVDS, ICCV 2023). A camera that
moves forward changes depth along every flow, so a perfect prediction does not score 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8

from endodav.evaluation.sums import Sums
from endodav.geometry.warp import flow_targets, rigid_flow, warp_by_flow

SHARPNESS = 50.0  # of M, for colours in 0..1

Map = Float[np.ndarray, "height width"]


class Look(NamedTuple):
    """Aligned depth of a frame in mm, and its colours."""

    depth: Map
    image: UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class FlowSums(Sums):
    """Sums over pairs of frames; adding two of them joins their pairs."""

    pairs: int = 0
    error: float = 0.0


def opw_update(first: Look, second: Look, flow: Float[np.ndarray, "2 height width"]) -> FlowSums:
    """Statistics of two neighbouring frames; nothing where none of their pixels correspond.

    Args:
        first: a frame.
        second: the next one, of the same size.
        flow: from the second to the first, in pixels along x and y; NaN where unknown.
    """
    height, width = second.depth.shape
    known = torch.from_numpy(np.isfinite(flow).all(axis=0))
    moved = torch.from_numpy(np.nan_to_num(flow).astype(np.float32))[None]
    colours = torch.from_numpy(first.image.astype(np.float32) / 255).permute(2, 0, 1)
    depth = torch.from_numpy(first.depth.astype(np.float32))[None]
    warped = warp_by_flow(torch.cat([depth, colours])[None], moved)[0]
    u, v = flow_targets(moved)[0].unbind(-1)
    inside = known & (u >= 0) & (u <= width - 1) & (v >= 0) & (v <= height - 1)
    seen = torch.from_numpy(second.image.astype(np.float32) / 255).permute(2, 0, 1)
    weight = torch.exp(-SHARPNESS * (seen - warped[1:]).square().sum(0)) * inside
    difference = (torch.from_numpy(second.depth.astype(np.float32)) - warped[0]).abs()
    total = float(weight.sum(dtype=torch.float64))
    if total <= 0:
        return FlowSums()
    return FlowSums(1, float((weight * difference).sum(dtype=torch.float64)) / total)


def opw_compute(sums: FlowSums) -> float:
    """Mean over pairs in mm; NaN where there was none."""
    return sums.error / sums.pairs if sums.pairs else float("nan")


def flow_of_camera(
    truth: Map, intrinsics: Float[np.ndarray, "3 3"], T_dst_from_src: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "2 height width"]:
    """Flow that the camera's motion causes in a rigid scene; NaN where the depth is unknown.

    Args:
        truth: depth of `src` in mm, 0 where unknown.
        intrinsics: of both cameras, in pixels.
        T_dst_from_src: motion, lengths in mm.
    """
    depth, K, T = (
        torch.from_numpy(np.ascontiguousarray(x, np.float32))[None]
        for x in (truth, intrinsics, T_dst_from_src)
    )
    flow = rigid_flow(depth, K, T)[0].numpy()
    return np.where(truth > 0, flow, np.float32(np.nan))
