"""What the steps of all methods share: depth of a disparity, and terms that add up to a loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from endodav.models.dpt import resize
from endodav.models.flow import SCALES

NEAREST, FARTHEST = 0.1, 150.0  # EndoDAV; in millimetres only if the motions happen to be

Scalar = Float[Tensor, ""]
Depth = Float[Tensor, "frames height width"]


class Losses(NamedTuple):
    """The total to descend, and its parts, each with its weight, by term and scale.

    The total is the sum of the parts, over the number of scales where they have these.
    """

    total: Scalar
    parts: dict[str, Scalar]


def depth_from_disparity(disparity: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Disparity 0..1 to depth 150..0.1; more than 1 is nearer still (Monodepth2, EndoDAV)."""
    return 1 / (1 / FARTHEST + (1 / NEAREST - 1 / FARTHEST) * disparity)


def disparity_from_depth(depth: float) -> float:
    """The inverse of `depth_from_disparity`."""
    return (1 / depth - 1 / FARTHEST) / (1 / NEAREST - 1 / FARTHEST)


def full_depths(
    disparities: Sequence[Float[Tensor, "frames 1 _ _"]], size: tuple[int, int]
) -> list[Depth]:
    """Depths at the size of the frames, from disparities at several scales."""
    return [depth_from_disparity(resize(each, size)).squeeze(1) for each in disparities]


def averaged(terms: Sequence[dict[str, Scalar]], scale: int) -> dict[str, Scalar]:
    """The mean over neighbours of each term, its name with the scale."""
    return {
        f"{name}/{scale}": torch.stack([each[name] for each in terms]).mean() for name in terms[0]
    }


def summed(parts: dict[str, Scalar]) -> Losses:
    """Parts and their total."""
    return Losses(torch.stack(list(parts.values())).sum() / SCALES, parts)
