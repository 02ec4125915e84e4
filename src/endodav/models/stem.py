"""A convolutional way from pixels to patches, for an encoder that learns from nothing.

A linear patch embedding has to discover from data that neighbouring pixels belong together, and its
tokens know nothing finer than a patch. Convolutions know both from the start (Xiao et al. 2021,
"Early convolutions help transformers see better"), and the maps on the way are fine enough for the
head's two finest levels.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from endodav.models.blocks import ResidualUnit

GROUPS = 8  # of the normalisations
RESIDUAL_UNITS = 2  # at 1/4 and at 1/8 of the image


class _Halving(nn.Sequential):
    """A strided 3x3 convolution and a normalisation."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, out_channels, 3, 2, padding=1),
            nn.GroupNorm(GROUPS, out_channels),
        )


class ConvStem(nn.Module):
    """Images to maps at 1/4 and 1/8 of their size, and to patches of 16 pixels.

    Args:
        channels: of the maps at 1/2, 1/4 and 1/8; multiples of 8.
        width: channels of a patch.
    """

    def __init__(self, channels: tuple[int, int, int], width: int) -> None:
        super().__init__()
        half, quarter, eighth = channels
        self.to_half = _Halving(3, half)
        self.to_quarter = _Halving(half, quarter)
        self.to_eighth = _Halving(quarter, eighth)
        self.to_patches = nn.Conv2d(eighth, width, 3, 2, padding=1)
        self.refine_quarter = nn.Sequential(*(ResidualUnit(quarter) for _ in range(RESIDUAL_UNITS)))
        self.refine_eighth = nn.Sequential(*(ResidualUnit(eighth) for _ in range(RESIDUAL_UNITS)))

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> tuple[
        Float[Tensor, "batch quarter _ _"],
        Float[Tensor, "batch eighth _ _"],
        Float[Tensor, "batch channels rows columns"],
    ]:
        """The two maps and the patches of normalised images, whose sides are multiples of 16."""
        half = F.relu(self.to_half(images))
        quarter = self.refine_quarter(self.to_quarter(half))
        eighth = self.refine_eighth(self.to_eighth(F.relu(quarter)))
        return quarter, eighth, self.to_patches(F.relu(eighth))
