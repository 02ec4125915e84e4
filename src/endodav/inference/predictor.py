"""A network made safe to run: right input, right precision, finite depth in the right units."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from endodav.errors import PrecisionWarning, WeightsError
from endodav.inference.memory import held_by
from endodav.inference.parts import Parts, costs, parts_within
from endodav.inference.preprocess import network_input
from endodav.inference.settings import PRECISIONS, InferenceSettings
from endodav.models.presets import ModelPreset
from endodav.types import Frame, RGBImage

NetworkInput = Float[Tensor, "3 rows columns"]
TemporalState = Any  # opaque: only the network that made it looks inside


@runtime_checkable
class ClipNetwork(Protocol):
    """What every depth network can do, of `endodav.models.depth` or exported from there."""

    def encode(
        self, frames: Float[Tensor, "frames 3 rows columns"]
    ) -> list[Float[Tensor, "frames _ _ _"]]:
        """What each frame, prepared as the preset says, gives by itself."""
        ...

    def decode(
        self, maps: list[Float[Tensor, "time _ _ _"]], wanted: Sequence[int] | None = None
    ) -> Float[Tensor, "wanted map_rows map_columns"]:
        """Depth of a clip from what its frames gave; of all frames, or those `wanted`."""
        ...


@runtime_checkable
class StreamingNetwork(Protocol):
    """What a network with a memory can do."""

    def advance(
        self, maps: list[Float[Tensor, "batch _ _ _"]], state: TemporalState
    ) -> tuple[Float[Tensor, "batch map_rows map_columns"], TemporalState]:
        """Depth of one frame from what it gives by itself, after those that `state` remembers.

        None remembers no frame.
        """
        ...


@runtime_checkable
class ConcurrentNetwork(Protocol):
    """What a network can do that encodes a frame while another thread decodes the one before."""

    def encoding_ahead(self) -> AbstractContextManager[None]:
        """While this lasts, it does."""
        ...


@runtime_checkable
class DivisibleNetwork(Protocol):
    """What a network can do that computes a clip in parts."""

    def work_in(self, pixels: int | None, frames: int) -> None:
        """How much is in flight at once, see `endodav.inference.parts`."""
        ...


@dataclass
class SeenFrame:
    """A frame as the network sees it, and what the network has made of it.

    Attributes:
        input: the network's input.
        maps: what the frame gives by itself; None until a clip with it is predicted.
    """

    input: NetworkInput
    maps: list[Float[Tensor, "1 _ _ _"]] | None = None


class Predictor:
    """Runs one network on prepared frames.

    In half precision each result is checked; the first one that is not finite turns half precision
    off, for it and for everything after it, with one warning.

    Attributes:
        network: the network, put into evaluation mode.
        preset: what it is and what it wants.
        settings: input size and precision.
        device: where the network's parameters are.

    Raises:
        TypeError: the module is not a depth network.
    """

    def __init__(
        self, network: nn.Module | ClipNetwork, preset: ModelPreset, settings: InferenceSettings
    ) -> None:
        if not isinstance(network, ClipNetwork):
            raise TypeError(f"{type(network).__name__} is no depth network")
        if isinstance(network, nn.Module):
            network.eval()
        self.network = network
        self.preset = preset
        self.settings = settings
        self.device = device_of(network)
        self._half = PRECISIONS[settings.resolved_precision(self.device)]
        self._parts = Parts()

    def fit_into_memory(self, frame: SeenFrame, window: int, besides: int) -> None:
        """Choose how much of a window is computed at once, as the settings' memory limit says.

        Args:
            frame: one of those to come, not of another size.
            window: frames of a clip.
            besides: bytes that will be held outside the network.

        Raises:
            RecipeError: the limit is too low.
        """
        limit = self.settings.memory_limit
        if limit is None:
            self._parts = Parts() if self.device.type == "cpu" else Parts(encoded=window)
        else:
            rows, columns = self.preset.preprocessing.image_shape or frame.input.shape[1:]
            needed = costs(self.preset, rows, columns, window)
            self._parts = parts_within(limit, held_by(self.device) + besides, needed, window)
        if isinstance(self.network, DivisibleNetwork):
            self.network.work_in(self._parts.mixed, self._parts.finished)

    def see(self, frame: Frame) -> tuple[Frame, SeenFrame]:
        """A frame, and what the network sees of it."""
        return frame, SeenFrame(self.prepare(frame.image))

    @torch.inference_mode()
    def prepare(self, image: RGBImage) -> NetworkInput:
        """The network's input for one frame, on the network's device."""
        return network_input(
            image, self.preset.preprocessing, self.settings.input_size, self.device
        )

    def predict(
        self, clip: Sequence[SeenFrame], wanted: Sequence[int] | None = None
    ) -> Float[Tensor, "wanted map_rows map_columns"]:
        """Depth of one clip, float32, in the preset's units; its frames remember their maps.

        Args:
            clip: its frames; one that comes twice is encoded once.
            wanted: positions whose depth is wanted, in rising order; None for all.

        Raises:
            WeightsError: the network gives values that are not finite even in float32.
        """

        def run(retry: bool) -> tuple[Tensor, None]:
            if retry:
                for frame in clip:
                    frame.maps = None
            self.encode(clip)
            levels = zip(*(cast(list[Tensor], frame.maps) for frame in clip), strict=True)
            return self.network.decode([torch.cat(level) for level in levels], wanted), None

        depth, _ = self._finite(run)
        return depth

    @property
    def encoded_at_once(self) -> int:
        """How many frames the encoder takes at a time."""
        return self._parts.encoded

    @torch.inference_mode()
    def encode(self, clip: Sequence[SeenFrame]) -> None:
        """Let every frame without maps have them, a few at a time."""
        fresh = list({id(frame): frame for frame in clip if frame.maps is None}.values())
        at_once = self.encoded_at_once
        for start in range(0, len(fresh), at_once):
            few = fresh[start : start + at_once]
            with self._in_precision():
                maps = self.network.encode(torch.stack([frame.input for frame in few]))
            for place, frame in enumerate(few):
                # A copy, so that a frame that is kept keeps nothing else.
                frame.maps = [level[place : place + 1].clone() for level in maps]

    def step(
        self, seen: SeenFrame, state: TemporalState = None
    ) -> tuple[Float[Tensor, "map_rows map_columns"], TemporalState]:
        """Depth of one frame that sees only the past, and what the next frame has to know.

        Networks without a memory see the frame alone. Where half precision fails, the memory was
        computed in it and is dropped.

        Raises:
            WeightsError: as `predict`.
        """
        network = self.network
        if not isinstance(network, StreamingNetwork):
            return self.predict([seen])[0], None

        def run(retry: bool) -> tuple[Tensor, TemporalState]:
            if retry:
                seen.maps = None
            self.encode([seen])
            return network.advance(cast(list[Tensor], seen.maps), None if retry else state)

        depth, state = self._finite(run)
        return depth[0], state

    def _finite(
        self, run: Callable[[bool], tuple[Tensor, TemporalState]]
    ) -> tuple[Tensor, TemporalState]:
        """`run(False)`; where half precision gives something not finite, `run(True)` in float32."""
        if self._half is not None:
            depth, state = self._run(run, retry=False)
            if depth.isfinite().all():
                return depth, state
            warnings.warn(
                f"{self.preset.name} overflows in {self._half}; "
                "this and all later frames are computed in float32.",
                PrecisionWarning,
                stacklevel=2,
            )
            self._half = None
            depth, state = self._run(run, retry=True)
        else:
            depth, state = self._run(run, retry=False)
        if not depth.isfinite().all():
            raise WeightsError(
                f"{self.preset.name} gives values that are not finite even in float32; "
                "its weights are unusable, so load others."
            )
        return depth, state

    @torch.inference_mode()
    def _run(
        self, run: Callable[[bool], tuple[Tensor, TemporalState]], retry: bool
    ) -> tuple[Tensor, TemporalState]:
        with self._in_precision():
            depth, state = run(retry)
        return depth.float() * self.preset.to_millimetres, state

    def _in_precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, dtype=self._half, enabled=self._half is not None)


def device_of(network: object) -> torch.device:
    """Where the network's parameters are; the CPU if it has none, or runs outside PyTorch."""
    parameters = network.parameters() if isinstance(network, nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))
