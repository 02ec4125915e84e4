"""A network made safe to run: right input, right precision, finite depth in the right units."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from endodav.errors import PrecisionWarning, WeightsError
from endodav.inference.preprocess import network_input
from endodav.inference.settings import PRECISIONS, InferenceSettings
from endodav.models.presets import ModelPreset
from endodav.types import RGBImage

NetworkInput = Float[Tensor, "3 rows columns"]
TemporalState = Any  # opaque: only the network that made it looks inside


@runtime_checkable
class ClipNetwork(Protocol):
    """What every depth network of `endodav.models.depth` can do."""

    def predict_clip(
        self, frames: Float[Tensor, "time 3 rows columns"]
    ) -> Float[Tensor, "time map_rows map_columns"]:
        """Depth of a clip whose frames are prepared as the preset says."""
        ...


@runtime_checkable
class StreamingNetwork(Protocol):
    """What a network with a memory can do."""

    def step(
        self, frame: Float[Tensor, "batch 3 rows columns"], state: TemporalState
    ) -> tuple[Float[Tensor, "batch map_rows map_columns"], TemporalState]:
        """Depth of one frame after those that `state` (None: no frame) remembers."""
        ...


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
        self, network: nn.Module, preset: ModelPreset, settings: InferenceSettings
    ) -> None:
        if not isinstance(network, ClipNetwork):
            raise TypeError(f"{type(network).__name__} has no predict_clip")
        self.network = network
        network.eval()
        self.preset = preset
        self.settings = settings
        self.device = device_of(network)
        self._half = PRECISIONS[settings.resolved_precision(self.device)]

    @torch.inference_mode()
    def prepare(self, image: RGBImage) -> NetworkInput:
        """The network's input for one frame, on the network's device."""
        return network_input(
            image, self.preset.preprocessing, self.settings.input_size, self.device
        )

    def predict(self, inputs: Sequence[NetworkInput]) -> Float[Tensor, "time map_rows map_columns"]:
        """Depth of one clip, float32, in the preset's units.

        Raises:
            WeightsError: the network gives values that are not finite even in float32.
        """
        clip = torch.stack(list(inputs))
        depth, _ = self._finite(lambda _: (self.network.predict_clip(clip), None))
        return depth

    def step(
        self, prepared: NetworkInput, state: TemporalState = None
    ) -> tuple[Float[Tensor, "map_rows map_columns"], TemporalState]:
        """Depth of one frame that sees only the past, and what the next frame has to know.

        Networks without a memory see the frame alone. Where half precision fails, the memory was
        computed in it and is dropped.

        Raises:
            WeightsError: as `predict`.
        """
        network = self.network
        if not isinstance(network, StreamingNetwork):
            return self.predict([prepared])[0], None
        depth, state = self._finite(
            lambda retry: network.step(prepared[None], None if retry else state)
        )
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
        with torch.autocast(self.device.type, dtype=self._half, enabled=self._half is not None):
            depth, state = run(retry)
        return depth.float() * self.preset.to_millimetres, state


def device_of(network: nn.Module) -> torch.device:
    """Where the network's parameters are; the CPU if it has none."""
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
