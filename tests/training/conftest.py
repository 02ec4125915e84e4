"""A renderer and a network small enough to train many times over."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from endodav.training import clips, run, start
from endodav.training.recipe import TrainRecipe


class Conv(nn.Module):
    """Inverse depth from a pixel's neighbourhood."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.GroupNorm(2, 8)
        self.depth = nn.Conv2d(8, 1, 1)
        nn.init.ones_(self.depth.bias)

    def predict_clip(self, frames: Tensor) -> Tensor:
        return self.depth(self.norm(self.features(frames)).relu()).relu()[:, 0]

    def forward(self, clips: Tensor) -> Tensor:
        return self.predict_clip(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])


def render(
    seed: int,
    frames: int,
    height: int,
    width: int,
    family: str | None = None,
    device: str = "cpu",
    flow: bool = False,
    stride: int = 1,
) -> SimpleNamespace:
    """A plane that tilts and comes closer; the brighter the nearer."""
    rng = np.random.default_rng(seed)
    slope, start = rng.uniform(-20, 20), rng.uniform(40, 60)
    column = np.linspace(-1, 1, width)[None, None]
    depth = (
        start + slope * column - stride * np.arange(frames)[:, None, None] * np.ones((1, height, 1))
    )
    brightness = (255 * depth.min() / depth).astype(np.uint8)
    valid = np.ones(depth.shape, bool)
    valid[:, :2] = False
    images = np.repeat(brightness[..., None], 3, axis=3)
    still = np.zeros((frames - 1, height, width, 2), np.float32) if flow else None
    depth = (depth * valid).astype(np.float32)
    return SimpleNamespace(images=images, depth=depth, valid=valid, flow=still)


@pytest.fixture
def small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips of `render`, learned by `Conv`."""
    monkeypatch.setattr(clips, "render_clip", render)
    for module in (run, start):
        monkeypatch.setattr(module, "build", lambda _: Conv())
    torch.set_num_threads(1)


@pytest.fixture
def recipe() -> TrainRecipe:
    """Twelve steps on that world."""
    return TrainRecipe.model_validate(
        {
            "name": "small",
            "steps": 12,
            "clips": {
                "total": 6,
                "at_start": 2,
                "frames": 4,
                "height": 20,
                "width": 24,
                "workers": 0,
                "renderers": 0,
            },
            "batch": {"sizes": [[16, 16], [16, 32]], "clip_frames": 6, "lengths": [3], "images": 2},
            "optimiser": {"learning_rate": 0.01, "warmup_steps": 2},
            "watch": {"log_steps": 1, "evaluate_steps": 6, "clips": 1},
        }
    )
