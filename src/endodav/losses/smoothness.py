"""Neighbouring pixels agree, away from edges: disparity, optical flow and appearance flow."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

MIN_MEAN = 1e-7  # keeps an all-zero disparity from dividing by zero
MIN_REGION = 10  # EndoUFM: pixels of a region that counts
REGION_EPS = 1e-6
EDGE_FALLOFF = 10.0  # KinD (Zhang et al., ACM MM 2019)

Field = Float[Tensor, "batch channels height width"]
Image = Float[Tensor, "batch colours height width"]
Scalar = Float[Tensor, ""]


def mean_normalised(disparity: Float[Tensor, "batch 1 height width"]) -> Tensor:
    """Disparity over its mean in each image, or smoothness would reward shrinking it.

    Wang et al., CVPR 2018 (Learning Depth from Monocular Videos using Direct Methods).
    """
    return disparity / (disparity.mean(dim=(2, 3), keepdim=True) + MIN_MEAN)


def edge_aware_smoothness(field: Field, image: Image) -> Scalar:
    """Mean |dx field| exp(-|dx image|), and the same along y (Godard et al., CVPR 2017)."""
    x, y = (
        (steps.abs() * _edge_weight(edges)).mean()
        for steps, edges in zip(_steps(field), _steps(image), strict=True)
    )
    return x + y


def total_variation(field: Field) -> Scalar:
    """Mean |dx field| and mean |dy field|, added: smooth everywhere, edges or not."""
    x, y = (steps.abs().mean() for steps in _steps(field))
    return x + y


def appearance_smoothness(
    change: Image, target: Image, registered: Image, visible: Bool[Tensor, "batch 1 height width"]
) -> Scalar:
    """Change of brightness is smooth where the residual it explains is (AF-SfMLearner).

    Args:
        change: appearance flow, what is to be added to `target`.
        target: the image it is added to.
        registered: the neighbour, warped onto `target`.
        visible: pixels that count, by their right and lower neighbour.

    Returns:
        The mean over visible pixels for x, and that for y, added; 0 where nothing is visible.
    """
    masks = visible[..., :-1], visible[..., :-1, :]
    residuals = _steps(target - registered)
    x, y = (
        (steps.abs().mean(dim=1, keepdim=True) * _edge_weight(edges) * mask).sum()
        / mask.sum().clamp(min=1)
        for steps, edges, mask in zip(_steps(change), residuals, masks, strict=True)
    )
    return x + y


def region_smoothness(
    field: Field, image: Image, labels: Int[Tensor, "batch height width"]
) -> Scalar:
    """Edge-aware smoothness inside regions, each counting the same (EndoUFM's mask guidance).

    A step belongs to the region of its left or upper pixel. Each region's steps are added up over
    the batch and divided by its pixels; regions below 10 pixels count as smooth.

    Args:
        field: disparity, normalised by its mean.
        image: whose edges excuse steps.
        labels: of the region of each pixel, from 0.
    """
    count = int(labels.max()) + 1
    index = labels.long()
    totals = field.new_zeros(count)
    owners = index[..., :-1], index[..., :-1, :]
    for steps, edges, owner in zip(_steps(field), _steps(image), owners, strict=True):
        costs = (steps.abs() * _edge_weight(edges)).sum(dim=1)
        totals = totals.index_add(0, owner.flatten(), costs.flatten())
    pixels = torch.bincount(index.flatten(), minlength=count)
    return (totals / (pixels + REGION_EPS))[pixels >= MIN_REGION].sum() / count


def step_difference(x: Field, y: Field, visible: Bool[Tensor, "batch 1 height width"]) -> Scalar:
    """Two fields are steep in the same places: mean ||d x| - |d y|| over visible pixels, both axes.

    EndoUFM compares light so.
    """
    masks = visible[..., :-1], visible[..., :-1, :]
    along_x, along_y = (
        ((of_x.abs() - of_y.abs()).abs() * mask).sum() / mask.sum().clamp(min=1)
        for of_x, of_y, mask in zip(_steps(x), _steps(y), masks, strict=True)
    )
    return along_x + along_y


def mutual_consistency(x: Field, y: Field) -> Scalar:
    """Steps are strong in both fields or weak in both: m exp(-10 m) with m = |d x| + |d y|.

    KinD (Zhang et al., ACM MM 2019).
    """
    strengths = (of_x.abs() + of_y.abs() for of_x, of_y in zip(_steps(x), _steps(y), strict=True))
    along_x, along_y = ((m * (-EDGE_FALLOFF * m).exp()).mean() for m in strengths)
    return along_x + along_y


def _steps(field: Field) -> tuple[Tensor, Tensor]:
    """From each pixel to its right and to its lower neighbour."""
    return field.diff(dim=3), field.diff(dim=2)


def _edge_weight(steps: Tensor) -> Tensor:
    """1 in flat regions, less across edges of the mean colour."""
    return (-steps.abs().mean(dim=1, keepdim=True)).exp()
