"""Photometric augmentation of a clip: every frame gets the same change, noise excepted.

What is rendered must not be told from what a real endoscope sees by its colours, its sharpness or
its noise, so these vary more than in any single camera. Brightness is left as the renderer's
cameras make it, which have exposures, contrasts and vignettes of their own: it falls with the
square of the distance, and tells depth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "time 3 height width"]  # 0..1, not clipped between two changes
LUMA = (0.299, 0.587, 0.114)  # Rec. 601
# Chroma axes of YIQ; rotating them turns the hue and keeps the luma.
YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


def _luma(images: Images) -> Float[Tensor, "time 1 height width"]:
    weights = images.new_tensor(LUMA)[:, None, None]
    return (images * weights).sum(dim=1, keepdim=True)


def saturation(images: Images, rng: np.random.Generator) -> Images:
    """Scale the distance from grey by 0.3 to 1.6."""
    grey = _luma(images)
    return grey + (images - grey) * rng.uniform(0.3, 1.6)


def hue(images: Images, rng: np.random.Generator) -> Images:
    """Turn the hue by up to 40 degrees."""
    angle = math.radians(rng.uniform(-40, 40))
    to_yiq = torch.tensor(YIQ)
    turn = torch.eye(3)
    turn[1, 1] = turn[2, 2] = math.cos(angle)
    turn[1, 2], turn[2, 1] = -math.sin(angle), math.sin(angle)
    return torch.einsum("rc,tchw->trhw", torch.linalg.inv(to_yiq) @ turn @ to_yiq, images)


def colour_cast(images: Images, rng: np.random.Generator) -> Images:
    """Give each channel a gain of 0.75 to 1.3 and an offset up to 0.05."""
    gains = torch.from_numpy(rng.uniform(0.75, 1.3, 3)).to(images)
    offsets = torch.from_numpy(rng.uniform(-0.05, 0.05, 3)).to(images)
    return images * gains[:, None, None] + offsets[:, None, None]


def grayscale(images: Images, rng: np.random.Generator) -> Images:  # noqa: ARG001
    """Take the colour away."""
    return _luma(images).expand_as(images)


def blur(images: Images, rng: np.random.Generator) -> Images:
    """Gaussian of 0.4 to 1.6 pixels: defocus, and video that was scaled up."""
    sigma = rng.uniform(0.4, 1.6)
    offsets = torch.arange(-4, 5, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    rows = F.conv2d(F.pad(images, (4, 4, 0, 0), mode="replicate"), kernel, groups=3)
    return F.conv2d(F.pad(rows, (0, 0, 4, 4), mode="replicate"), kernel.mT, groups=3)


def sharpen(images: Images, rng: np.random.Generator) -> Images:
    """Add 0.2 to 1.0 of what a 3x3 mean takes away, as camera processors do."""
    smooth = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return images + rng.uniform(0.2, 1.0) * (images - smooth)


def noise(images: Images, rng: np.random.Generator) -> Images:
    """Gaussian of up to 0.05, different in each frame and either grey or coloured."""
    channels = 1 if rng.random() < 0.5 else 3
    shape = (images.shape[0], channels, *images.shape[2:])
    draw = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
    return images + rng.uniform(0.0, 0.05) * draw


class Change(NamedTuple):
    """One kind of change and how often it happens."""

    probability: float
    apply: Callable[[Images, np.random.Generator], Images]


CHANGES = (
    Change(0.1, sharpen),
    Change(0.3, saturation),
    Change(0.3, hue),
    Change(0.3, colour_cast),
    Change(0.05, grayscale),
    Change(0.15, blur),
    Change(0.25, noise),
)


def change_photometry(images: Images, rng: np.random.Generator) -> Images:
    """Apply each of `CHANGES` with its probability; the result is in 0..1."""
    for change in CHANGES:
        if rng.random() < change.probability:
            images = change.apply(images, rng)
    return images.clamp(0, 1)
