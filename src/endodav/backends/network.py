"""A depth network whose arithmetic happens outside PyTorch; stands wherever a network does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from endodav.backends.graphs import DECODER, ENCODER, FIRST, NEXT, WINDOW, Size
from endodav.backends.runtime import Part
from endodav.backends.slots import Slots
from endodav.errors import RecipeError
from endodav.models.temporal import TemporalState


class BackendNetwork(nn.Module):
    """A network of single images, run part by part.

    Args:
        open_part: gives a part by its name.
        size: rows and columns of the only input it takes; None if it takes any.
        name: of the model, for messages.
    """

    def __init__(self, open_part: Callable[[str], Part], size: Size | None, name: str) -> None:
        super().__init__()
        self.size, self.name = size, name
        self._open = open_part
        self._shared = False

    @cached_property
    def _encoder(self) -> Part:
        return self._open(ENCODER)

    @cached_property
    def _decoder(self) -> Part:
        return self._open(DECODER)

    def encode(
        self, frames: Float[Tensor, "frames 3 height width"]
    ) -> list[Float[Tensor, "frames _ _ _"]]:
        """What each frame gives by itself.

        Raises:
            RecipeError: the export is for inputs of another size.
        """
        size = frames.shape[-2], frames.shape[-1]
        if self.size is not None and self.size != size:
            raise RecipeError(
                f"{self.name} was exported for inputs of {_told(self.size)} pixels "
                f"(rows x columns), but this video needs {_told(size)}; export it again with "
                f"--size {_told(size)} or --size dynamic."
            )
        return _together(self._each(self._encoder, [[frame[None]] for frame in frames.numpy()]))

    def decode(
        self, maps: list[Float[Tensor, "time _ _ _"]], wanted: Sequence[int] | None = None
    ) -> Float[Tensor, "wanted out_height out_width"]:
        """Depth of the frames of a clip, each by itself; of all, or those `wanted`."""
        return self._depth([level.numpy() for level in maps], wanted)

    @contextmanager
    def encoding_ahead(self) -> Iterator[None]:
        """While this lasts, one frame is encoded at the same time as another is decoded."""
        self._shared = True
        try:
            yield
        finally:
            self._shared = False

    def predict_clip(
        self, frames: Float[Tensor, "time 3 height width"]
    ) -> Float[Tensor, "time out_height out_width"]:
        """Depth of one clip."""
        return self.decode(self.encode(frames))

    def _depth(self, by_frame: list[np.ndarray], wanted: Sequence[int] | None = None) -> Tensor:
        frames = range(len(by_frame[0])) if wanted is None else wanted
        examples = [[level[k : k + 1] for level in by_frame] for k in frames]
        (depth,) = _together(self._each(self._decoder, examples))
        return depth

    def _each(self, part: Part, examples: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
        if len(examples) == 1:
            return [self._alone(part, examples[0])]
        return part.each(examples)

    def _alone(self, part: Part, inputs: list[np.ndarray]) -> list[np.ndarray]:
        return part.beside(*inputs) if self._shared else part(*inputs)


class VideoBackendNetwork(BackendNetwork):
    """A network that looks across time: in clips of at most 32 frames, or in a stream."""

    @cached_property
    def _window(self) -> Part:
        return self._open(WINDOW)

    @cached_property
    def _first(self) -> Part:
        return self._open(FIRST)

    @cached_property
    def _next(self) -> Part:
        return self._open(NEXT)

    @cached_property
    def _memory(self) -> Slots:
        return Slots()

    def decode(
        self, maps: list[Float[Tensor, "time _ _ _"]], wanted: Sequence[int] | None = None
    ) -> Float[Tensor, "wanted out_height out_width"]:
        """Depth of one clip from what its frames gave; of all frames, or those `wanted`."""
        map_0, map_1, map_2, map_3 = (level.numpy() for level in maps)
        return self._depth([map_0, map_1, *self._window(map_2, map_3)], wanted)

    def advance(
        self, maps: list[Float[Tensor, "1 _ _ _"]], state: TemporalState | None
    ) -> tuple[Float[Tensor, "1 out_height out_width"], TemporalState]:
        """Depth of the next frame of a stream, and the state for the one after it."""
        map_0, map_1, *coarse = (level.numpy() for level in maps)
        if state is None:
            path_2, path_3, *left = self._alone(self._first, coarse)
        else:
            seen = self._memory.hold(state.context())
            path_2, path_3, *left = self._alone(self._next, [*coarse, *seen])
        entry = tuple(torch.from_numpy(x) for x in left)
        return self._depth([map_0, map_1, path_2, path_3]), TemporalState.after(state, entry)


def _together(results: list[list[np.ndarray]]) -> list[Tensor]:
    """Outputs of single frames as batches."""
    if len(results) == 1:
        return [torch.from_numpy(x) for x in results[0]]
    return [torch.from_numpy(np.concatenate(level)) for level in zip(*results, strict=True)]


def _told(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
