"""Batch k of a run as a function of its seed and k: clips drawn, resized, turned and coloured."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from endodav.losses.colour import hsv_to_rgb, rgb_to_hsv
from endodav.training.adaptation.batch import VideoBatch
from endodav.training.adaptation.footage import Footage
from endodav.training.adaptation.recipe import DataRecipe
from endodav.video.roi import highlight_mask

GREY = (0.299, 0.587, 0.114)  # Rec. 601 luma

Clip = Float[Tensor, "time 3 height width"]


def draw_batch(footage: Footage, recipe: DataRecipe, seed: int, step: int) -> VideoBatch:
    """The clips of one step; the same whenever it is asked for."""
    rng = np.random.default_rng([seed, step])
    return collate([draw_clip(footage, recipe, rng) for _ in range(recipe.clips)])


def draw_clip(footage: Footage, recipe: DataRecipe, rng: np.random.Generator) -> VideoBatch:
    """One clip as a batch; flip and colours are the same for all its frames."""
    raw = footage.draw(rng, recipe.max_stride)
    frames = raw.resized(recipe.size)
    field, labels = raw.field_at(recipe.size), raw.labels_at(recipe.size)
    if rng.random() < recipe.flip:
        frames, field = frames.flip(-1), field.flip(-1)
        labels = None if labels is None else labels.flip(-1)
    augmented = jitter(frames, rng, recipe) if rng.random() < recipe.jitter else frames
    valid = (
        field & ~highlight_mask(frames)
        if recipe.mask_highlights
        else field.expand(len(frames), -1, -1, -1)
    )
    regions = None if labels is None else labels[None, 1:-1]
    return VideoBatch(frames[None], augmented[None], valid[None], regions)


def collate(clips: list[VideoBatch]) -> VideoBatch:
    """Clips of the same size as one batch."""
    regions = [clip.regions for clip in clips if clip.regions is not None]
    return VideoBatch(
        torch.cat([clip.frames for clip in clips]),
        torch.cat([clip.augmented for clip in clips]),
        torch.cat([clip.valid for clip in clips]),
        torch.cat(regions) if regions else None,
    )


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
