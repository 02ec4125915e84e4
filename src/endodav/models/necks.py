"""Convolutional residual blocks on the encoder's patch grid, which a transformer of patches lacks.

EndoDAC puts bottlenecks behind some encoder blocks; EndoUFM puts depthwise-separable ones with
channel and spatial attention there. All keep the shape [batch, width, rows, columns] of any grid,
and the encoder adds what they return.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from endodav.models.presets import NeckConfig

NORM_EPS = 1e-6
BOTTLENECK_RATIO = 8
ATTENTION_RATIO = 16  # CBAM (Woo et al. 2018), sec. 3
ATTENTION_KERNEL = 7


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of a map, at each pixel by itself."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, NORM_EPS)

    def forward(
        self, x: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Normalise."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Bottleneck(nn.Module):
    """EndoDAC's residual: 1x1, 3x3 and 1x1 convolution with norms.

    The last norm starts at zero, so a new block changes nothing.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, inner, 1, bias=False)
        self.reduce_norm = ChannelNorm(inner)
        self.mix = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.mix_norm = ChannelNorm(inner)
        self.expand = nn.Conv2d(inner, width, 1, bias=False)
        self.expand_norm = ChannelNorm(width)
        _start_at_zero(self.expand_norm)

    def forward(
        self, x: Float[Tensor, "batch width rows columns"]
    ) -> Float[Tensor, "batch width rows columns"]:
        """What is to be added to the grid."""
        x = F.gelu(self.reduce_norm(self.reduce(x)))
        x = F.gelu(self.mix_norm(self.mix(x)))
        out: Tensor = self.expand_norm(self.expand(x))
        return out


class SeparableBottleneck(nn.Module):
    """EndoUFM's residual (Res-DSC): 1x1, depthwise 3x3, 1x1 and 1x1 convolution with norms.

    The last norm starts at zero, so a new block changes nothing.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, inner, 1, bias=False)
        self.reduce_norm = ChannelNorm(inner)
        self.depthwise_norm = ChannelNorm(inner)
        self.pointwise_norm = ChannelNorm(inner)
        self.expand_norm = ChannelNorm(width)
        self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.pointwise = nn.Conv2d(inner, inner, 1, bias=False)
        self.expand = nn.Conv2d(inner, width, 1, bias=False)
        _start_at_zero(self.expand_norm)

    def forward(
        self, x: Float[Tensor, "batch width rows columns"]
    ) -> Float[Tensor, "batch width rows columns"]:
        """What is to be added to the grid, before attention."""
        x = F.gelu(self.reduce_norm(self.reduce(x)))
        x = F.gelu(self.depthwise_norm(self.depthwise(x)))
        x = F.gelu(self.pointwise_norm(self.pointwise(x)))
        out: Tensor = self.expand_norm(self.expand(x))
        return out


class ConvAttention(nn.Module):
    """CBAM (Woo et al. 2018): channel attention, then spatial attention, plus the input."""

    def __init__(
        self, width: int, ratio: int = ATTENTION_RATIO, kernel: int = ATTENTION_KERNEL
    ) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(width, width // ratio, 1, bias=False)
        self.excite = nn.Conv2d(width // ratio, width, 1, bias=False)
        self.spatial = nn.Conv2d(2, 1, kernel, padding=kernel // 2)

    def forward(
        self, x: Float[Tensor, "batch width rows columns"]
    ) -> Float[Tensor, "batch width rows columns"]:
        """Weigh channels, then pixels."""
        pooled = (x.amax((2, 3), keepdim=True), x.mean((2, 3), keepdim=True))
        y = x * torch.sigmoid(sum(self.excite(F.relu(self.squeeze(p))) for p in pooled))
        summary = torch.cat([y.amax(1, keepdim=True), y.mean(1, keepdim=True)], dim=1)
        return x + y * torch.sigmoid(self.spatial(summary))


def build_necks(config: NeckConfig | None, width: int) -> dict[int, nn.Module]:
    """New necks by the number of the encoder block they follow."""
    if config is None:
        return {}
    inner = width // BOTTLENECK_RATIO
    if config.kind == "bottleneck":
        return {block: Bottleneck(width, inner) for block in config.blocks}
    return {
        block: nn.Sequential(
            OrderedDict(residual=SeparableBottleneck(width, inner), attention=ConvAttention(width))
        )
        for block in config.blocks
    }


def _start_at_zero(norm: nn.Module) -> None:
    for parameter in norm.parameters():
        nn.init.zeros_(parameter)
