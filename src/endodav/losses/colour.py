"""Hue, saturation and value of images (Smith, SIGGRAPH 1978), as pure functions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

Image = Float[Tensor, "batch 3 height width"]

SECTORS = (5.0, 3.0, 1.0)  # where red, green and blue stand on the circle of hues


def rgb_to_hsv(rgb: Image) -> Image:
    """Hue, saturation and value, all 0..1; grey has hue 0, and black saturation 0 too.

    >>> rgb_to_hsv(torch.tensor([0.0, 1.0, 0.5]).view(1, 3, 1, 1)).flatten()
    tensor([0.4167, 1.0000, 1.0000])
    """
    value, largest = rgb.max(dim=1)
    spread = value - rgb.amin(dim=1)
    divisor = torch.where(spread > 0, spread, torch.ones_like(spread))
    red, green, blue = rgb.unbind(dim=1)
    sextants = torch.stack(
        [(green - blue) / divisor, 2 + (blue - red) / divisor, 4 + (red - green) / divisor], dim=1
    )
    hue = sextants.gather(1, largest.unsqueeze(1)).squeeze(1) / 6 % 1
    saturation = spread / torch.where(value > 0, value, torch.ones_like(value))
    return torch.stack([hue, saturation, value], dim=1)


def hsv_to_rgb(hsv: Image) -> Image:
    """The colours of hue (of which only the fraction counts), saturation and value.

    >>> hsv_to_rgb(torch.tensor([0.5, 1.0, 0.8]).view(1, 3, 1, 1)).flatten()
    tensor([0.0000, 0.8000, 0.8000])
    """
    hue, saturation, value = (channel.unsqueeze(1) for channel in hsv.unbind(dim=1))
    sector = (hsv.new_tensor(SECTORS).view(1, 3, 1, 1) + 6 * hue) % 6
    distance = torch.minimum(sector, 4 - sector).clamp(0, 1)
    return value * (1 - saturation * distance)
