"""The parts of a depth network that a backend runs, as functions with named inputs and outputs.

A frame goes through `encoder` alone. Then the frames of a clip meet in `window`; or, streaming, the
first frame goes through `first`, and each later one through `next` with what 31 earlier frames left
for each temporal attention, in any order. `decoder` makes depth of one frame again. Networks of
single images are `encoder` and `decoder`.

Backends are fastest where every shape is known, so each part takes one frame (`window`: one clip),
and rows and columns may be left open until a backend compiles it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from endodav.backends.portable import portable
from endodav.models.dpt import Mix, no_mix
from endodav.models.presets import TEMPORAL_WINDOW
from endodav.models.temporal import ATTENTIONS

CONTEXT = TEMPORAL_WINDOW - 1  # earlier frames that a streamed frame attends to
MOST_PATCHES = 512  # a side of the grid; a limit only because tracing wants one
# Rows and columns of the example that is traced; all different, none of them 1.
EXAMPLE_GRID = (4, 6)

ENCODER, WINDOW, FIRST, NEXT, DECODER = "encoder", "window", "first", "next", "decoder"

LAYOUT: Final = 2  # of parts, inputs and outputs; an export with another number is refused

Size = tuple[int, int]
Tensors = tuple[Tensor, ...]


class Encoder(nn.Module):
    """Prepared frames to what each gives by itself."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensors:
        """The maps, finest first."""
        return tuple(self.network.encode(images))


class Window(nn.Module):
    """The two coarser maps of a clip to its two coarser paths, frames mixed."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, *maps: Tensor) -> Tensors:
        """Paths 2 and 3, of the frames of one clip."""
        return _paths(self.network, maps, self.network.motion.mix(maps[0].shape[0]))


class Next(nn.Module):
    """`Window` for the next frame of a stream; for the first one, without contexts."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, *maps_and_memory: Tensor) -> Tensors:
        """Paths 2 and 3 of the frame, and what it leaves for each attention.

        Args:
            maps_and_memory: maps 2 and 3 [1, channels, rows, columns]; then what earlier frames
                left, in any order: the place in time of each [31], from 0, and for each attention
                [rows, columns, 31, channels].
        """
        maps, order, contexts = maps_and_memory[:2], maps_and_memory[2:3], maps_and_memory[3:]
        seen = [context.flatten(0, 1) for context in contexts]
        left: list[Tensor] = []
        paths = _paths(self.network, maps, self.network.motion.mix_next(seen, left, *order))
        sizes = attention_sizes(_size(maps[0]), _size(maps[1]))
        by_place = (x.view(*size, -1) for x, size in zip(left, sizes, strict=True))
        return (*paths, *by_place)


class Decoder(nn.Module):
    """Maps 0 and 1 and paths 2 and 3 of a frame to its depth."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, *maps_and_paths: Tensor) -> Tensors:
        """Depth [1, rows, columns]."""
        raw = self.network.head.finish(list(maps_and_paths), self.network.encoder.patch_size)
        return (self.network.activate(raw, scales=1)[0][:, 0],)


class ImageDecoder(nn.Module):
    """All maps of a frame to its depth, for networks of single images."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, *maps: Tensor) -> Tensors:
        """Depth [1, rows, columns]."""
        return (self.network.decode(list(maps)),)


@dataclass(frozen=True)
class Graph:
    """One part of a network, ready to be traced.

    Attributes:
        name: of the part, and of its file.
        module: what it computes.
        inputs: their names.
        outputs: their names.
        example: inputs to trace it with.
        open_sides: for each input which dimensions stay open; empty if all sizes are fixed.
    """

    name: str
    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    example: Tensors
    open_sides: tuple[dict[int, Any], ...]

    @torch.no_grad()
    def trace(self) -> ExportedProgram:
        """The part as a graph of PyTorch's operators."""
        sides: Any = self.open_sides
        if len(self.inputs) > 1:
            sides = (sides,)  # of the one variadic argument
        return torch.export.export(self.module.eval(), self.example, dynamic_shapes=sides)


def attention_sizes(map_2: Size, map_3: Size) -> list[Size]:
    """Rows and columns that each temporal attention sees, from those of the coarser maps."""
    finer = (2 * map_2[0], 2 * map_2[1])
    return [size for size in (map_2, map_3, map_2, finer) for _ in range(ATTENTIONS)]


def graphs_of(network: nn.Module, size: Size | None, multiple: int) -> Iterator[Graph]:
    """The parts of a network.

    Args:
        network: of `endodav.models`.
        size: rows and columns of its input; None to leave them open.
        multiple: of which they are.
    """
    ready = cast(Any, portable(network))
    rows, columns = size or (multiple * EXAMPLE_GRID[0], multiple * EXAMPLE_GRID[1])
    images = torch.randn(1, 3, rows, columns, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = [x.contiguous() for x in ready.encode(images)]
    # Networks with a size of their own resize their input to it.
    own_size = size is not None or hasattr(network, "image_shape")
    sides = _Sides(multiple, None if size is None else (rows, columns), own_size)
    names = tuple(f"map_{level}" for level in range(len(maps)))
    image_side = sides.image()
    yield Graph(ENCODER, Encoder(ready), ("images",), names, (images,), (image_side,))
    if getattr(ready, "motion", None) is None:
        maps_open = sides.maps(len(maps))
        yield Graph(DECODER, ImageDecoder(ready), names, ("depth",), tuple(maps), maps_open)
        return
    yield from _video_graphs(ready, maps, sides)


def _video_graphs(network: Any, maps: list[Tensor], sides: _Sides) -> Iterator[Graph]:
    coarse = ("map_2", "map_3")
    paths = ("path_2", "path_3")
    clip = tuple(x.repeat(TEMPORAL_WINDOW, 1, 1, 1) for x in maps[2:])
    time = {0: Dim("time", min=1, max=TEMPORAL_WINDOW)}
    whole = tuple(time | open_side for open_side in sides.coarse_maps())
    yield Graph(WINDOW, Window(network), coarse, paths, clip, whole)

    first = Next(network)
    with torch.no_grad():
        path_2, path_3, *entries = first(*maps[2:])
    left = tuple(f"entry_{number}" for number in range(len(entries)))
    open_maps = sides.coarse_maps()
    yield Graph(FIRST, first, coarse, (*paths, *left), tuple(maps[2:]), open_maps)

    contexts = [x[:, :, None].repeat(1, 1, CONTEXT, 1) for x in entries]
    seen = tuple(f"context_{number}" for number in range(len(entries)))
    yield Graph(
        NEXT,
        Next(network),
        (*coarse, "order", *seen),
        (*paths, *left),
        (*maps[2:], torch.arange(CONTEXT), *contexts),
        (*open_maps, {}, *sides.contexts()),
    )
    inputs = (*(x.contiguous() for x in maps[:2]), path_2.contiguous(), path_3.contiguous())
    names = ("map_0", "map_1", *paths)
    yield Graph(DECODER, Decoder(network), names, ("depth",), inputs, sides.decoder())


class _Sides:
    """Which dimensions of the parts' inputs stay open, as multiples of the grid of patches."""

    def __init__(self, multiple: int, size: Size | None, maps_fixed: bool) -> None:
        self.multiple, self.size, self.maps_fixed = multiple, size, maps_fixed
        self.grid = [Dim(name, min=2, max=MOST_PATCHES) for name in ("rows", "columns")]
        self.coarser = [Dim(f"coarse_{n}", min=1, max=MOST_PATCHES) for n in ("rows", "columns")]

    def image(self) -> dict[int, Any]:
        if self.size is not None:
            return {}
        return {axis: self.multiple * side for axis, side in zip((2, 3), self.grid, strict=True)}

    def maps(self, count: int) -> tuple[dict[int, Any], ...]:
        finer = tuple(self._times(factor) for factor in (4, 2))
        return (*finer, *self.coarse_maps())[:count] if not self.maps_fixed else ({},) * count

    def coarse_maps(self) -> tuple[dict[int, Any], dict[int, Any]]:
        if self.maps_fixed:
            return {}, {}
        return self._times(1), dict(zip((2, 3), self.coarser, strict=True))

    def contexts(self) -> tuple[dict[int, Any], ...]:
        if self.maps_fixed:
            return ({},) * (4 * ATTENTIONS)
        one, finer = self._times(1, axis=0), self._times(2, axis=0)
        coarse = dict(zip((0, 1), self.coarser, strict=True))
        return tuple(side for side in (one, coarse, one, finer) for _ in range(ATTENTIONS))

    def decoder(self) -> tuple[dict[int, Any], ...]:
        if self.maps_fixed:
            return ({},) * 4
        return tuple(self._times(factor) for factor in (4, 2, 2, 1))

    def _times(self, factor: int, axis: int = 2) -> dict[int, Any]:
        return {axis + k: factor * side if factor > 1 else side for k, side in enumerate(self.grid)}


def _paths(network: Any, maps: Sequence[Tensor], mix: Mix = no_mix) -> Tensors:
    path_2, path_3 = network.head.mix_coarse(maps[0], maps[1], mix)
    return path_2, path_3


def _size(x: Tensor) -> Size:
    return x.shape[-2], x.shape[-1]
