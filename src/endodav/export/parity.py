"""How far an export is from PyTorch in float32, measured on frames it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from endodav.backends.graphs import Size
from endodav.export.examples import TEST_SCENES, TEST_SEED, Example, abs_rel, rendered
from endodav.inference.predictor import StreamingNetwork
from endodav.models.presets import ModelPreset
from endodav.types import Kind
from endodav.weights.runs import LoadedModel

STREAMED = 4  # frames that go through the streaming parts


@dataclass(frozen=True)
class Deviation:
    """Of one map from another.

    Attributes:
        largest: largest absolute difference, in the network's units.
        relative: the same by the largest value of the reference.
        mean_relative: mean absolute difference by the mean value of the reference.
    """

    largest: float
    relative: float
    mean_relative: float


@dataclass(frozen=True)
class Parity:
    """An export against PyTorch in float32.

    Attributes:
        size: rows and columns of the input it was measured at.
        noise: on a clip of seeded noise.
        rendered: on rendered clips, the worst of them.
        streamed: on streamed frames; None for networks of single images.
        abs_rel_reference: Abs Rel of PyTorch on the rendered clips, after scale and shift.
        abs_rel_export: of the export.
    """

    size: Size
    noise: Deviation
    rendered: Deviation
    streamed: Deviation | None
    abs_rel_reference: float
    abs_rel_export: float

    @property
    def abs_rel_change(self) -> float:
        """Relative change of Abs Rel; above 0 the export is worse."""
        return self.abs_rel_export / self.abs_rel_reference - 1.0


@torch.inference_mode()
def measure(reference: LoadedModel, exported: LoadedModel, size: Size | None) -> Parity:
    """Run both on the same frames."""
    preset = exported.preset
    clips = rendered(preset, size, TEST_SEED, TEST_SCENES)
    network, other = cast(Any, reference.model), cast(Any, exported.model)
    shape = clips[0].frames.shape
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    pairs = [(network.predict_clip(x.frames), other.predict_clip(x.frames)) for x in clips]
    deviations = [deviation(got, want) for want, got in pairs]
    streams = isinstance(other, StreamingNetwork)
    return Parity(
        size=(shape[-2], shape[-1]),
        noise=deviation(other.predict_clip(noise), network.predict_clip(noise)),
        rendered=max(deviations, key=lambda found: found.relative),
        streamed=_streamed(network, other, clips[0].frames[:STREAMED]) if streams else None,
        abs_rel_reference=_mean_abs_rel([want for want, _ in pairs], clips, preset),
        abs_rel_export=_mean_abs_rel([got for _, got in pairs], clips, preset),
    )


def deviation(got: Tensor, want: Tensor) -> Deviation:
    """How far `got` is from `want`."""
    difference = (got - want).abs()
    return Deviation(
        largest=float(difference.max()),
        relative=float(difference.max() / want.abs().max()),
        mean_relative=float(difference.mean() / want.abs().mean()),
    )


def _streamed(network: Any, other: Any, frames: Tensor) -> Deviation:
    state = other_state = None
    for frame in frames:
        want, state = network.advance(network.encode(frame[None]), state)
        got, other_state = other.advance(other.encode(frame[None]), other_state)
    return deviation(got, want)


def _mean_abs_rel(maps: Sequence[Tensor], clips: Sequence[Example], preset: ModelPreset) -> float:
    found = [
        abs_rel(depth, example.truth, Kind(preset.kind))
        for depth, example in zip(maps, clips, strict=True)
        if example.truth is not None
    ]
    return sum(found) / len(found)
