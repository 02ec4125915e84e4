"""How different two images look, at each pixel; every function is pure and not reduced."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

SSIM_SHARE = 0.85  # Godard et al., CVPR 2017: structure against colour
LUMINANCE_EPS = 0.01**2  # Wang et al., TIP 2004: (0.01 L)^2 for values 0..1
CONTRAST_EPS = 0.03**2
SSIM_WINDOW = 3
CORRELATION_WINDOW = 5
CORRELATION_EPS = 1e-5  # of sums over a window: flat against flat counts as uncorrelated

Image = Float[Tensor, "batch channels height width"]
Map = Float[Tensor, "batch 1 height width"]


def structural_dissimilarity(x: Image, y: Image) -> Image:
    """(1 - SSIM) / 2 in 3x3 windows, 0 where equal to 1 (Wang et al., TIP 2004).

    Images are in 0..1 and reflected at their borders.
    """
    x, y = (F.pad(image, (SSIM_WINDOW // 2,) * 4, mode="reflect") for image in (x, y))
    mean_x, mean_y = (F.avg_pool2d(image, SSIM_WINDOW, 1) for image in (x, y))
    variance_x = F.avg_pool2d(x * x, SSIM_WINDOW, 1) - mean_x * mean_x
    variance_y = F.avg_pool2d(y * y, SSIM_WINDOW, 1) - mean_y * mean_y
    covariance = F.avg_pool2d(x * y, SSIM_WINDOW, 1) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + LUMINANCE_EPS) / (mean_x**2 + mean_y**2 + LUMINANCE_EPS)
    structure = (2 * covariance + CONTRAST_EPS) / (variance_x + variance_y + CONTRAST_EPS)
    return ((1 - luminance * structure) / 2).clamp(0, 1)


def photometric_error(prediction: Image, target: Image, ssim_share: float = SSIM_SHARE) -> Map:
    """0.85 SSIM + 0.15 L1, each a mean over channels (Godard et al., CVPR 2017).

    Args:
        prediction: image in 0..1.
        target: image in 0..1.
        ssim_share: weight of the structure; the colour has the rest.
    """
    colour = absolute_error(prediction, target)
    if ssim_share == 0:
        return colour
    structure = structural_dissimilarity(prediction, target).mean(dim=1, keepdim=True)
    return ssim_share * structure + (1 - ssim_share) * colour


def absolute_error(prediction: Image, target: Image) -> Map:
    """Mean over channels of the absolute difference."""
    return (prediction - target).abs().mean(dim=1, keepdim=True)


def negative_correlation(x: Map, y: Map) -> Map:
    """Minus the squared local correlation in 5x5 windows: -1 where one is affine to the other.

    Outside the images lie zeros (VoxelMorph, Balakrishnan et al., TMI 2019).
    """
    mean_x, mean_y = _local_mean(x), _local_mean(y)
    covariance = _local_mean(x * y) - mean_x * mean_y
    variance_x = _local_mean(x * x) - mean_x * mean_x
    variance_y = _local_mean(y * y) - mean_y * mean_y
    pixels = CORRELATION_WINDOW**2
    return -covariance * covariance / (variance_x * variance_y + CORRELATION_EPS / pixels**2)


def masked_mean(values: Map, mask: Bool[Tensor, "batch 1 height width"]) -> Float[Tensor, ""]:
    """Mean over the pixels where `mask` is True; 0 where there is none."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def _local_mean(x: Map) -> Map:
    return F.avg_pool2d(x, CORRELATION_WINDOW, 1, padding=CORRELATION_WINDOW // 2)
