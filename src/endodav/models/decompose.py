"""Intrinsic image decomposition: what a surface reflects, and the light that falls on it.

EndoUFM (arXiv 2508.17916) reads both from the depth encoder's features, and lets a small network
adjust the light of a warped neighbour to that of the target. Image = reflectance * light.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from endodav.models.dpt import DPTHead, Size, resize
from endodav.models.presets import HeadConfig

WIDTH = 16  # channels from the features, and as many from the image
ADJUST_WIDTH = 32

Image = Float[Tensor, "batch 3 height width"]


class Decomposition(NamedTuple):
    """The two factors of an image, both 0..1."""

    reflectance: Image
    light: Float[Tensor, "batch 1 height width"]


class FactorOutput(nn.Module):
    """One factor from the finest path and the image itself, which has the detail."""

    def __init__(self, features: int, channels: int) -> None:
        super().__init__()
        self.from_features = nn.Conv2d(features, WIDTH, 3, padding=1)
        self.from_image = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.project = nn.Conv2d(2 * WIDTH, channels, 1)

    def forward(
        self, path: Float[Tensor, "batch features _rows _columns"], image: Image
    ) -> Float[Tensor, "batch channels height width"]:
        """The factor, at the size of the image."""
        path = resize(path, (image.shape[-2], image.shape[-1]))
        both = torch.cat([self.from_features(path), self.from_image(image)], dim=1)
        return torch.sigmoid(self.project(F.relu(both)))


class DecomposeDecoder(nn.Module):
    """A DPT head of its own, over the taps of the depth encoder, and one output for each factor.

    Args:
        widths: channels of the taps.
        config: channels of the head's maps.
        dense: whether the two finest taps are maps already, see `DPTHead`.
    """

    def __init__(
        self, widths: tuple[int, int, int, int], config: HeadConfig, dense: bool = False
    ) -> None:
        super().__init__()
        self.head = DPTHead(widths, config, dense=dense)
        self.head.output = nn.Identity()  # type: ignore[assignment]  # both factors read its path
        self.reflectance = FactorOutput(config.features, 3)
        self.light = FactorOutput(config.features, 1)

    def forward(
        self, taps: list[Float[Tensor, "batch ..."]], grid: Size, image: Image
    ) -> Decomposition:
        """Decompose an image.

        Args:
            taps: four of the encoder's, as `DPTHead` takes them.
            grid: rows and columns of patches.
            image: in 0..1, of any size.
        """
        path = self._finest_path(taps, grid)
        return Decomposition(self.reflectance(path, image), self.light(path, image))

    def _finest_path(self, taps: list[Tensor], grid: Size) -> Tensor:
        """What the head fuses from all taps, 8 times as fine as the grid."""
        maps = self.head.exchange(self.head.reassemble(taps, grid))
        sizes = [(8 * grid[0], 8 * grid[1]), *((m.shape[-2], m.shape[-1]) for m in maps[:-1])]
        *finer, coarsest = zip(self.head.fuse, maps, sizes, strict=True)
        fuse, path, size = coarsest
        path = cast(Tensor, fuse(path, None, size))
        for fuse, lateral, size in reversed(finer):
            path = cast(Tensor, fuse(path, lateral, size))
        return path


class AdjustNet(nn.Module):
    """What to add to a neighbour's warped light for the target's, -1..1.

    It sees the absolute difference of the target and the warped neighbour, 0 where hidden.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (3, ADJUST_WIDTH, ADJUST_WIDTH, ADJUST_WIDTH)
        self.convs = nn.ModuleList(
            nn.Conv2d(width, ADJUST_WIDTH, 3, padding=1, padding_mode="reflect")
            for width in widths[:-1]
        )
        self.project = nn.Conv2d(ADJUST_WIDTH, 1, 1)

    def forward(self, difference: Image) -> Float[Tensor, "batch 1 height width"]:
        """The adjustment."""
        x: Tensor = difference
        for conv in self.convs:
            x = F.elu(conv(x))
        return cast(Tensor, self.project(x)).tanh()
