"""A wall that moves past, and networks narrow enough to adapt to it many times over.

Programs of other processes import this file, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from endodav.models import flow, pose, resnet
from endodav.training.adaptation import start
from endodav.training.adaptation.footage import Footage
from endodav.training.adaptation.recipe import (
    AdaptRecipe,
    DataRecipe,
    DepthRecipe,
    ScheduleRecipe,
    WatchRecipe,
)
from endodav.training.adaptation.survey import Video
from endodav.video.roi import Whole

WIDTH = 8
RECIPE = AdaptRecipe(
    name="test",
    data=DataRecipe(size=(64, 64), targets=2),
    depth=DepthRecipe(image_shape=(32, 32)),
    schedule=ScheduleRecipe(steps=2, spatial_steps=1, temporal_steps=1),
    watch=WatchRecipe(steps=0, clips=1, log_steps=1),
)


def changed(recipe: AdaptRecipe, **sections: Mapping[str, object]) -> AdaptRecipe:
    """A recipe with other fields in some of its sections."""
    content = recipe.model_dump()
    for name, fields in sections.items():
        content[name] |= fields
    return AdaptRecipe.model_validate(content)


def narrow(patch: pytest.MonkeyPatch) -> None:
    """Let companions be a hundredth of their size, and never look for ImageNet weights."""
    patch.setattr(resnet, "WIDTHS", (WIDTH,) * 5)
    patch.setattr(flow, "ENCODER_WIDTHS", (WIDTH,) * 5)
    patch.setattr(flow, "WIDTHS", (WIDTH,) * 5)
    patch.setattr(pose, "ENCODER_WIDTHS", (WIDTH,) * 5)
    patch.setattr(pose, "WIDTH", WIDTH)
    patch.setattr(start, "imagenet_file", lambda _: None)
    torch.set_num_threads(1)


def wall(folder: Path, count: int, held_out: float = 0.0, frames: int = 4) -> Footage:
    """Images of a textured wall that moves by a pixel a frame."""
    rng = np.random.default_rng(0)
    texture = rng.integers(40, 220, (12, 12, 3)).repeat(12, 0).repeat(12, 1).astype(np.uint8)
    folder.mkdir(exist_ok=True)
    for k in range(count):
        Image.fromarray(texture[:80, k : k + 80]).save(folder / f"{k:02d}.png")
    times = tuple(Fraction(k, 25) for k in range(count))
    return Footage([Video(folder, times, (), Whole(), (80, 80))], frames, held_out=held_out)
