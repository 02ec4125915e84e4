"""Batch k of a run as a function of its seed and k: clips drawn, resized, turned and coloured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from endodav.errors import RecipeError
from endodav.losses.colour import hsv_to_rgb, rgb_to_hsv
from endodav.training.adaptation.batch import NEIGHBOURS, VideoBatch
from endodav.training.adaptation.footage import Footage, RawClip
from endodav.training.adaptation.recipe import DataRecipe
from endodav.video.roi import highlight_mask

GREY = (0.299, 0.587, 0.114)  # Rec. 601 luma

ALL = slice(None)

Clip = Float[Tensor, "time 3 height width"]


def draw_batch(
    footage: Footage, recipe: DataRecipe, seed: int, step: int, which: slice = ALL
) -> VideoBatch:
    """The clips of one step, or some of them; the same whenever they are asked for.

    Each clip has a random generator of its own, so that it does not matter who draws the others.
    """
    numbers = range(recipe.clips)[which]
    return collate(
        [draw_clip(footage, recipe, np.random.default_rng([seed, step, n])) for n in numbers]
    )


def part_of(rank: int, processes: int, recipe: DataRecipe) -> slice:
    """The clips of a step that process `rank` takes.

    Raises:
        RecipeError: they cannot be shared equally.

    >>> part_of(1, 2, DataRecipe(clips=6))
    slice(3, 6, None)
    """
    own, rest = divmod(recipe.clips, processes)
    if rest:
        raise RecipeError(
            f"{recipe.clips} clips cannot be shared by {processes} processes; let 'data.clips' and"
            f" 'lessons.clips' be multiples of {processes}."
        )
    return slice(rank * own, (rank + 1) * own)


def draw_clip(footage: Footage, recipe: DataRecipe, rng: np.random.Generator) -> VideoBatch:
    """One clip as a batch; flip and colours are the same for all its frames."""
    raw = footage.draw(rng, recipe.max_stride, recipe.targets + len(NEIGHBOURS))
    clip = plain_clip(raw, recipe)
    if rng.random() < recipe.flip:
        clip = mirrored(clip)
    if rng.random() < recipe.jitter:
        clip = replace(clip, augmented=jitter(clip.frames[0], rng, recipe)[None])
    return clip


def plain_clip(raw: RawClip, recipe: DataRecipe) -> VideoBatch:
    """A clip as it was recorded, resized and masked, as a batch."""
    frames = raw.resized(recipe.size)
    field, labels = raw.field_at(recipe.size), raw.labels_at(recipe.size)
    valid = field.expand(len(frames), -1, -1, -1)
    if recipe.mask_highlights:
        valid = valid & ~highlight_mask(frames)
    regions = None if labels is None else labels[None, 1:-1]
    squeeze = frames.new_tensor([raw.squeeze_at(recipe.size)])
    return VideoBatch(frames[None], frames[None], valid[None], regions, squeeze=squeeze)


def mirrored(clip: VideoBatch) -> VideoBatch:
    """Left is right; the camera's intrinsics must not be known."""
    assert clip.intrinsics is None
    pictures = {
        name: value.flip(-1)
        for name in ("frames", "augmented", "valid", "regions")
        if (value := getattr(clip, name)) is not None
    }
    return replace(clip, **pictures)


def collate(clips: list[VideoBatch]) -> VideoBatch:
    """Clips of the same size as one batch."""
    together = {
        name: torch.cat([getattr(clip, name) for clip in clips])
        for name, value in vars(clips[0]).items()
        if value is not None
    }
    return VideoBatch(**together)


def chunks(batch: VideoBatch, size: int | None) -> list[VideoBatch]:
    """A batch as batches of at most `size` clips; as it is without a size."""
    if size is None or len(batch.frames) <= size:
        return [batch]
    split = {name: values.split(size) for name, values in vars(batch).items() if values is not None}
    return [
        VideoBatch(**dict(zip(split, part, strict=True)))
        for part in zip(*split.values(), strict=True)
    ]


def jitter(frames: Clip, rng: np.random.Generator, recipe: DataRecipe) -> Clip:
    """Brightness, contrast and saturation by a factor, hue by an angle, one draw for the clip."""
    low, high = 1 - recipe.jitter_range, 1 + recipe.jitter_range
    brightness, contrast, saturation = rng.uniform(low, high, 3)
    turn = rng.uniform(-recipe.hue_range, recipe.hue_range)
    frames = (frames * brightness).clamp(0, 1)
    mean = (frames * frames.new_tensor(GREY).view(3, 1, 1)).sum(1, keepdim=True)
    frames = (mean.mean() + contrast * (frames - mean.mean())).clamp(0, 1)
    grey = (frames * frames.new_tensor(GREY).view(3, 1, 1)).sum(1, keepdim=True)
    frames = (grey + saturation * (frames - grey)).clamp(0, 1)
    hsv = rgb_to_hsv(frames)
    return hsv_to_rgb(torch.cat([hsv[:, :1] + turn, hsv[:, 1:]], dim=1))
