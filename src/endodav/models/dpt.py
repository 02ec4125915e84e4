"""The DPT head (Ranftl et al. 2021) as Depth Anything uses it: tokens of four blocks to dense maps.

The tokens of each tap are projected and resized to a pyramid of four maps (4, 2, 1 and 1/2 pixels a
patch), brought to the same number of channels and fused from coarse to fine. What comes out is
either one map at 14 times the patch grid, or a pyramid of four at 16, 8, 4 and 2 times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from endodav.models.blocks import ResidualUnit
from endodav.models.presets import HeadConfig

OUTPUT_CHANNELS = 32
FRAMES_AT_ONCE = (
    4  # the finest two stages hold most of the memory, so they take few frames at a time
)
COARSE = 3  # number of the coarsest map; 0 is the finest

Size = tuple[int, int]
Mix = Callable[[int, Tensor], Tensor]
"""Lets frames exchange information: place and maps [frames, channels, rows, columns] to new maps.

Places 0 and 1 are the reassembled maps 2 and 3, places 2 and 3 the fused maps 3 and 2.
"""


def no_mix(place: int, maps: Tensor) -> Tensor:  # noqa: ARG001 - a Mix
    """Every frame stays by itself."""
    return maps


def resize(x: Tensor, size: Size) -> Tensor:
    """Bilinear, corners aligned."""
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


class Fusion(nn.Module):
    """RefineNet block: add the finer map to the coarser path, refine, upsample, project.

    Args:
        features: channels of all maps.
        lateral: whether a map is added; the coarsest block only refines what it starts from.
    """

    def __init__(self, features: int, lateral: bool) -> None:
        super().__init__()
        self.project = nn.Conv2d(features, features, 1)
        self.lateral = ResidualUnit(features) if lateral else None
        self.refine = ResidualUnit(features)

    def forward(
        self,
        path: Float[Tensor, "batch features rows columns"],
        lateral: Float[Tensor, "batch features rows columns"] | None,
        size: Size,
    ) -> Float[Tensor, "batch features new_rows new_columns"]:
        """Fuse, at `size`."""
        if self.lateral is not None:
            path = path + self.lateral(lateral)
        out: Tensor = self.project(resize(self.refine(path), size))
        return out


class ConvOutput(nn.Module):
    """One map from the finest path, before its last activation."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(features, features // 2, 3, padding=1)
        self.refine = nn.Conv2d(features // 2, OUTPUT_CHANNELS, 3, padding=1)
        self.project = nn.Conv2d(OUTPUT_CHANNELS, 1, 1)
        # A ReLU follows in most models; a random start below it would never learn.
        assert self.project.bias is not None
        nn.init.ones_(self.project.bias)

    def forward(
        self, paths: list[Float[Tensor, "batch features _ _"]], size: Size
    ) -> list[Float[Tensor, "batch 1 rows columns"]]:
        """A list of one map of `size`."""
        x = resize(self.reduce(paths[0]), size)
        return [self.project(F.relu(self.refine(x)))]


class ScaleOutput(nn.Module):
    """One level of a pyramid: a map twice as large as its path, before its last activation."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(features, features // 2, 3, padding=1)
        self.refine = nn.Conv2d(features // 2, OUTPUT_CHANNELS, 3, padding=1)
        self.project = nn.Conv2d(OUTPUT_CHANNELS, 1, 1)

    def forward(
        self, path: Float[Tensor, "batch features _ _"]
    ) -> Float[Tensor, "batch 1 rows columns"]:
        """The map."""
        x = self.reduce(path)
        x = resize(x, (2 * x.shape[-2], 2 * x.shape[-1]))
        out: Tensor = self.project(F.relu(self.refine(x)))
        return out


class PyramidOutput(nn.ModuleList):
    """One `ScaleOutput` for each path, finest first."""

    def __init__(self, features: int) -> None:
        super().__init__(ScaleOutput(features) for _ in range(COARSE + 1))

    def forward(
        self,
        paths: list[Float[Tensor, "batch features _ _"]],
        size: Size,  # noqa: ARG002 - as ConvOutput
    ) -> list[Float[Tensor, "batch 1 _ _"]]:
        """Four maps, each twice as large as its path."""
        return [output(path) for output, path in zip(self, paths, strict=True)]


class DPTHead(nn.Module):
    """Tokens of four blocks to dense maps.

    Args:
        widths: channels of the four taps.
        config: channels of the maps.
        output: one map, or a pyramid of four.
        dense: whether the two finest taps are maps of their level's size already, not tokens.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int],
        config: HeadConfig,
        output: Literal["conv", "pyramid"] = "conv",
        dense: bool = False,
    ) -> None:
        super().__init__()
        channels, features = config.out_channels, config.features
        self.project = nn.ModuleList(
            nn.Conv2d(width, c, 1) for width, c in zip(widths, channels, strict=True)
        )
        enlarge = (
            nn.ConvTranspose2d(channels[0], channels[0], 4, 4),
            nn.ConvTranspose2d(channels[1], channels[1], 2, 2),
        )
        self.resize = nn.ModuleList(
            (
                *((nn.Identity(), nn.Identity()) if dense else enlarge),
                nn.Identity(),
                nn.Conv2d(channels[3], channels[3], 3, 2, padding=1),
            )
        )
        self.lateral = nn.ModuleList(
            nn.Conv2d(c, features, 3, padding=1, bias=False) for c in channels
        )
        self.fuse = nn.ModuleList(Fusion(features, lateral=i < COARSE) for i in range(COARSE + 1))
        self.output = ConvOutput(features) if output == "conv" else PyramidOutput(features)

    def reassemble(
        self, taps: list[Float[Tensor, "frames ..."]], grid: Size, mix: Mix
    ) -> list[Float[Tensor, "frames features _ _"]]:
        """The pyramid of four maps with the same number of channels, finest first."""
        maps = []
        for level, (tap, project, resized) in enumerate(
            zip(taps, self.project, self.resize, strict=True)
        ):
            maps.append(resized(project(_as_map(tap, grid))))
            if level >= 2:
                maps[level] = mix(level - 2, maps[level])
        return [lateral(x) for lateral, x in zip(self.lateral, maps, strict=True)]

    def forward(
        self,
        taps: list[Float[Tensor, "frames ..."]],
        grid: Size,
        patch_size: int,
        mix: Mix = no_mix,
    ) -> list[Float[Tensor, "frames 1 _ _"]]:
        """Dense maps of every frame, before their last activation.

        Args:
            taps: tokens [frames, tokens, channels] of four blocks, patches last; what comes before
                them is left out. Dense taps are maps [frames, channels, rows, columns].
            grid: rows and columns of patches.
            patch_size: side of a patch; the single output map has the size of the image.
            mix: lets the frames exchange information at the four coarse places.

        Returns:
            One map of patch_size times the grid, or four of 16, 8, 4 and 2 times, finest first.
        """
        maps = self.reassemble(taps, grid, mix)
        path_3 = mix(2, self.fuse[3](maps[3], None, _size(maps[2])))
        path_2 = mix(3, self.fuse[2](path_3, maps[2], _size(maps[1])))
        size = (patch_size * grid[0], patch_size * grid[1])
        coarse = [path_3, path_2, maps[1], maps[0]]
        parts = [
            self._finest([x[start : start + FRAMES_AT_ONCE] for x in coarse], size)
            for start in range(0, len(path_3), FRAMES_AT_ONCE)
        ]
        return [torch.cat(levels) for levels in zip(*parts, strict=True)]

    def _finest(self, coarse: list[Tensor], size: Size) -> list[Tensor]:
        """The two finest fusions and the output, for a few frames."""
        path_3, path_2, map_1, map_0 = coarse
        path_1 = self.fuse[1](path_2, map_1, _size(map_0))
        rows, columns = _size(map_0)
        path_0 = self.fuse[0](path_1, map_0, (2 * rows, 2 * columns))
        outputs: list[Tensor] = self.output([path_0, path_1, path_2, path_3], size)
        return outputs


def halvings(
    x: Float[Tensor, "frames 1 rows columns"], count: int
) -> list[Float[Tensor, "frames 1 _ _"]]:
    """`x` and `count` times half of what came before, corners aligned, sides rounded down."""
    scales = [x]
    for _ in range(count):
        rows, columns = _size(scales[-1])
        scales.append(resize(scales[-1], (rows // 2, columns // 2)))
    return scales


def _as_map(tap: Tensor, grid: Size) -> Tensor:
    if tap.ndim == 4:
        return tap
    return tap[:, -grid[0] * grid[1] :].transpose(1, 2).reshape(len(tap), -1, *grid)


def _size(x: Tensor) -> Size:
    return x.shape[-2], x.shape[-1]
