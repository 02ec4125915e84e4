"""Networks small enough to reason about, and frames to feed them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn

from endodav.models.presets import PRESETS, ModelPreset
from endodav.types import Frame

SIZE = 32  # network input of the fakes: quick


def tiny_preset(**changes: object) -> ModelPreset:
    """`endodav-tiny` with a small input, whose normalisation leaves 0..1 as it is."""
    preset = PRESETS["endodav-tiny"]
    preprocessing = replace(
        preset.preprocessing, input_size=SIZE, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
    )
    return replace(preset, preprocessing=preprocessing, **changes)  # type: ignore[arg-type]


class ByFrame(nn.Module):
    """A network whose frames give nothing but themselves before they meet."""

    def encode(self, frames: Tensor) -> list[Tensor]:
        return [frames]

    def decode(self, maps: list[Tensor], wanted: Sequence[int] | None = None) -> Tensor:
        depth = self.predict_clip(maps[0])
        return depth if wanted is None else depth[list(wanted)]


class Luminance(ByFrame):
    """Depth is the mean of the channels, in a scale and shift that change from call to call."""

    def __init__(self, affines: tuple[tuple[float, float], ...] = ((1.0, 0.0),)) -> None:
        super().__init__()
        self.affines = affines
        self.calls = 0
        self.lengths: list[int] = []

    def predict_clip(self, frames: Tensor) -> Tensor:
        scale, shift = self.affines[self.calls % len(self.affines)]
        self.calls += 1
        self.lengths.append(len(frames))
        return frames.mean(dim=1) * scale + shift


class Unsure(ByFrame):
    """Depth is the mean of the channels, with an error that is another one in every window."""

    def __init__(self, error: float) -> None:
        super().__init__()
        self.error = error
        self.random = torch.Generator().manual_seed(0)

    def predict_clip(self, frames: Tensor) -> Tensor:
        depth = frames.mean(dim=1)
        noise = torch.randn(depth.shape[1:], generator=self.random)
        return depth + self.error * depth.std() * noise


class ClipMean(ByFrame):
    """Depth depends on every frame of the clip and on the position in it, as with attention."""

    def predict_clip(self, frames: Tensor) -> Tensor:
        position = torch.arange(len(frames), device=frames.device)[:, None, None]
        return frames.mean(dim=1) + 0.3 * frames.mean(dim=(0, 1)) + 0.01 * position


class Overflowing(ByFrame):
    """Beyond the range of float16, within that of float32."""

    def __init__(self) -> None:
        super().__init__()
        self.types: list[torch.dtype] = []
        self.weight = nn.Parameter(torch.eye(3))

    def predict_clip(self, frames: Tensor) -> Tensor:
        mixed = torch.einsum("tchw,cd->tdhw", frames * 60000.0, self.weight)
        self.types.append(mixed.dtype)
        return (mixed + mixed).mean(dim=1)

    def advance(self, maps: list[Tensor], state: int | None) -> tuple[Tensor, int]:
        return self.predict_clip(maps[0]), 0 if state is None else state + 1


class Broken(ByFrame):
    """Never finite."""

    def predict_clip(self, frames: Tensor) -> Tensor:
        return frames.mean(dim=1) * float("nan")


def video(count: int, height: int = 20, width: int = 24, seed: int = 0) -> np.ndarray:
    """[count, height, width, 3] uint8, every frame different and textured."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(40, 200, (height, width, 3)).astype(np.int64)
    drift = rng.integers(-20, 20, (count, 1, 1, 1))
    return np.clip(texture + drift, 0, 255).astype(np.uint8)


def frames_of(images: np.ndarray, fps: int = 25, first: int = 0) -> Iterator[Frame]:
    """One by one, as a source gives them."""
    for index, image in enumerate(images, start=first):
        yield Frame(image, Fraction(index, fps), index)
