"""The DPT head (Ranftl et al. 2021) as Depth Anything uses it: tokens of four blocks to dense maps.

The tokens of each tap are projected and resized to a pyramid of four maps (4, 2, 1 and 1/2 pixels a
patch), brought to the same number of channels and fused from coarse to fine. What comes out is
either one map at 14 times the patch grid, or a pyramid of four at 16, 8, 4 and 2 times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from endodav.models.blocks import ResidualUnit
from endodav.models.presets import HeadConfig

OUTPUT_CHANNELS = 32
# The finest two stages hold most of the memory, so they take few frames at a time.
FRAMES_AT_ONCE = 4
COARSE = 3  # number of the coarsest map; 0 is the finest
MIXED = 2  # number of the finest map whose frames exchange information before it is fused

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

    Attributes:
        lateral: refines the map, before it is given to this block; None where there is none.
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
        if lateral is not None:
            path = path + lateral
        # A mean of projections is the projection of the mean, so it is done where pixels are fewer.
        return resize(self.project(self.refine(path)), size)


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

    Attributes:
        frames_at_once: that go through the finest two stages together; only speed and memory
            depend on it.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int],
        config: HeadConfig,
        output: Literal["conv", "pyramid"] = "conv",
        dense: bool = False,
    ) -> None:
        super().__init__()
        self.frames_at_once = FRAMES_AT_ONCE
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
        self, taps: list[Float[Tensor, "frames ..."]], grid: Size
    ) -> list[Float[Tensor, "frames _ _ _"]]:
        """What each frame gives by itself: a pyramid of four maps, finest first.

        The two finer ones are as their fusions add them; the coarser ones are yet to mix.

        Args:
            taps: tokens [frames, tokens, channels] of four blocks, patches last; what comes before
                them is left out. Dense taps are maps [frames, channels, rows, columns].
            grid: rows and columns of patches.
        """
        maps = [
            resized(project(_as_map(tap, grid)))
            for tap, project, resized in zip(taps, self.project, self.resize, strict=True)
        ]
        return [*(self._side(level, maps[level]) for level in range(MIXED)), *maps[MIXED:]]

    def exchange(
        self, maps: list[Float[Tensor, "frames _ _ _"]], mix: Mix = no_mix
    ) -> list[Float[Tensor, "frames features _ _"]]:
        """The maps of `reassemble`, the coarser ones mixed, all as their fusions take them."""
        return [*maps[:MIXED], *self._mixed(maps[MIXED], maps[COARSE], mix)]

    def fuse_maps(
        self,
        maps: list[Float[Tensor, "frames _ _ _"]],
        patch_size: int,
        mix: Mix = no_mix,
        wanted: Sequence[int] | None = None,
    ) -> list[Float[Tensor, "wanted 1 _ _"]]:
        """Dense maps, before their last activation.

        Args:
            maps: of `reassemble`.
            patch_size: side of a patch; the single output map has the size of the image.
            mix: lets the frames exchange information at the four coarse places.
            wanted: frames whose dense maps are wanted; None for all.

        Returns:
            One map of patch_size times the grid, or four of 16, 8, 4 and 2 times, finest first.
        """
        by_frame = [*maps[:MIXED], *self.mix_coarse(maps[MIXED], maps[COARSE], mix)]
        frames = range(len(by_frame[0])) if wanted is None else wanted
        at_once = self.frames_at_once
        parts = [
            self.finish([_chosen(x, frames[start : start + at_once]) for x in by_frame], patch_size)
            for start in range(0, len(frames), at_once)
        ]
        return [torch.cat(levels) for levels in zip(*parts, strict=True)]

    def forward(
        self,
        taps: list[Float[Tensor, "frames ..."]],
        grid: Size,
        patch_size: int,
        mix: Mix = no_mix,
    ) -> list[Float[Tensor, "frames 1 _ _"]]:
        """`reassemble` and `fuse_maps`."""
        return self.fuse_maps(self.reassemble(taps, grid), patch_size, mix)

    def mix_coarse(
        self,
        map_2: Float[Tensor, "frames _ rows columns"],
        map_3: Float[Tensor, "frames _ _ _"],
        mix: Mix = no_mix,
    ) -> tuple[
        Float[Tensor, "frames features finer_rows finer_columns"],
        Float[Tensor, "frames features rows columns"],
    ]:
        """Paths 2 and 3 from the coarser maps: all that frames exchange, they exchange here."""
        map_2, map_3 = self._mixed(map_2, map_3, mix)
        rows, columns = _size(map_2)
        path_3 = mix(2, self.fuse[3](map_3, None, (rows, columns)))
        path_2 = mix(3, self.fuse[2](path_3, map_2, (2 * rows, 2 * columns)))
        return path_2, path_3

    def finish(
        self, by_frame: list[Float[Tensor, "frames _ _ _"]], patch_size: int
    ) -> list[Float[Tensor, "frames 1 _ _"]]:
        """The two finest fusions and the output, from maps 0 and 1 and paths 2 and 3."""
        map_0, map_1, path_2, path_3 = by_frame
        path_1 = self.fuse[1](path_2, map_1, _size(map_0))
        rows, columns = _size(map_0)
        path_0 = self.fuse[0](path_1, map_0, (2 * rows, 2 * columns))
        grid_rows, grid_columns = _size(path_3)
        size = (patch_size * grid_rows, patch_size * grid_columns)
        outputs: list[Tensor] = self.output([path_0, path_1, path_2, path_3], size)
        return outputs

    def _mixed(self, map_2: Tensor, map_3: Tensor, mix: Mix) -> tuple[Tensor, Tensor]:
        """The coarser maps, mixed, as their fusions take them."""
        return self._side(MIXED, mix(0, map_2)), self._side(COARSE, mix(1, map_3))

    def _side(self, level: int, x: Tensor) -> Tensor:
        """A map as its fusion adds it to the path, or, the coarsest one, begins with it."""
        x = self.lateral[level](x)
        refine = cast(Fusion, self.fuse[level]).lateral
        return x if refine is None else refine(x)


def halvings(
    x: Float[Tensor, "frames 1 rows columns"], count: int
) -> list[Float[Tensor, "frames 1 _ _"]]:
    """`x` and `count` times half of what came before, corners aligned, sides rounded down."""
    scales = [x]
    for _ in range(count):
        rows, columns = _size(scales[-1])
        scales.append(resize(scales[-1], (rows // 2, columns // 2)))
    return scales


def _chosen(x: Tensor, frames: Sequence[int]) -> Tensor:
    """Some frames; where they follow each other, without a copy."""
    first, last = frames[0], frames[-1]
    return x[first : last + 1] if last - first == len(frames) - 1 else x[list(frames)]


def _as_map(tap: Tensor, grid: Size) -> Tensor:
    """Tokens as maps, in the memory order they have: channels last, which convolutions prefer."""
    if tap.ndim == 4:
        return tap.contiguous(memory_format=torch.channels_last)
    patches = tap[:, -grid[0] * grid[1] :]
    return patches.reshape(len(tap), *grid, -1).permute(0, 3, 1, 2)


def _size(x: Tensor) -> Size:
    return x.shape[-2], x.shape[-1]
