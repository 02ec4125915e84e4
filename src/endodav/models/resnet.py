"""ResNet-18 (He et al., CVPR 2016) over one or several stacked images.

The encoder of the self-supervised networks (AF-SfMLearner, Shao et al., MedIA 2022): pose and flow
see two images, stacked along the channels. Its weights fit torchvision's.
"""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

WIDTHS = (64, 64, 128, 256, 512)  # channels of the five maps
BLOCKS = 2  # residual blocks a stage


class Shortcut(nn.Module):
    """A strided 1x1 convolution past a block that changes size and width."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width_in, width_out, 1, stride, bias=False)
        self.norm = nn.BatchNorm2d(width_out)

    def forward(
        self, x: Float[Tensor, "batch width_in _rows _columns"]
    ) -> Float[Tensor, "batch width_out rows columns"]:
        """The input, as large and wide as the block's output."""
        return cast(Tensor, self.norm(self.conv(x)))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, added to the input; the first one may halve the map."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width_out, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width_out)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width_out)
        same = stride == 1 and width_in == width_out
        self.shortcut = nn.Identity() if same else Shortcut(width_in, width_out, stride)

    def forward(
        self, x: Float[Tensor, "batch width_in _rows _columns"]
    ) -> Float[Tensor, "batch width_out rows columns"]:
        """Refine the map."""
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class ResNet18(nn.Module):
    """Five maps, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the images.

    Args:
        images: RGB images a sample, stacked along the channels.
    """

    def __init__(self, images: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3 * images, WIDTHS[0], 7, stride=2, padding=3, bias=False)
        self.stem_norm = nn.BatchNorm2d(WIDTHS[0])
        self.stages = nn.ModuleList(
            _stage(WIDTHS[i], WIDTHS[i + 1], stride=1 if i == 0 else 2) for i in range(4)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> list[Float[Tensor, "batch _ _ _"]]:
        """Encode images in 0..1; they are not normalised, as in the official programs."""
        maps = [F.relu(self.stem_norm(self.stem(images)))]
        x = F.max_pool2d(maps[0], 3, stride=2, padding=1)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def _stage(width_in: int, width_out: int, stride: int) -> nn.Sequential:
    first = ResidualBlock(width_in, width_out, stride)
    return nn.Sequential(
        first, *(ResidualBlock(width_out, width_out, 1) for _ in range(BLOCKS - 1))
    )
