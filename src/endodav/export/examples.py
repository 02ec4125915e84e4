"""Frames to calibrate on and to compare with: rendered ones, whose depth is known; a user's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from endodav.backends.graphs import Size
from endodav.inference.alignment import least_squares, moments
from endodav.inference.preprocess import network_input, network_size
from endodav.models.presets import TEMPORAL_WINDOW, ModelPreset
from endodav.synthetic import FAMILIES, RenderedClip, render_clip
from endodav.types import Kind, RGBImage
from endodav.video.source import open_source

CALIBRATION_SEED, TEST_SEED = 7_000, 8_000
# INT8 has the range of what it was calibrated on, and a clip's frames are alike: four scenes cost
# endodav-tiny 3.2 % of Abs Rel on twelve others, twelve 0.6 %.
CALIBRATION_SCENES, TEST_SCENES = 12, 4
FRAMES = 8  # of a rendered clip
DEFAULT_ASPECT = 5 / 4  # columns by rows, of most endoscopes


@dataclass(frozen=True)
class Example:
    """A clip as the network sees it.

    Attributes:
        frames: prepared.
        truth: the rendered clip it came from; None for a video.
    """

    frames: Float[Tensor, "time 3 rows columns"]
    truth: RenderedClip | None = None


def rendered(preset: ModelPreset, size: Size | None, seed: int, scenes: int) -> list[Example]:
    """Short clips of so many scenes, families in turn, at the export's size or the model's."""
    rows, columns = size or _own_size(preset)
    clips = (
        render_clip(seed + number, FRAMES, rows, columns, family=family)
        for number, family in enumerate(islice(cycle(FAMILIES), scenes))
    )
    return [Example(_prepared(clip.images, preset), clip) for clip in clips]


def filmed(preset: ModelPreset, size: Size | None, videos: Sequence[Path]) -> list[Example]:
    """The first window of each video; where the export has one size, what fits its proportions.

    Raises:
        InputError: a video cannot be read.
    """
    examples = []
    for path in videos:
        with open_source(path) as source:
            images = [frame.image for frame in islice(source, TEMPORAL_WINDOW)]
        if size is not None:
            images = [central(image, size) for image in images]
        examples.append(Example(_prepared(images, preset)))
    return examples


def central(image: UInt8[np.ndarray, "image_height image_width 3"], proportions: Size) -> RGBImage:
    """The largest central part of a frame with the proportions of (rows, columns).

    Endoscopes see a round field in the middle of a wide frame; nothing is stretched.

    >>> central(np.zeros((720, 1280, 3), np.uint8), (224, 280)).shape
    (720, 900, 3)
    """
    height, width = image.shape[:2]
    rows = min(height, width * proportions[0] // proportions[1])
    columns = min(width, height * proportions[1] // proportions[0])
    top, left = (height - rows) // 2, (width - columns) // 2
    return image[top : top + rows, left : left + columns]


def abs_rel(depth: Float[Tensor, "time rows columns"], clip: RenderedClip, kind: Kind) -> float:
    """Mean of |d - d*| / d* after one scale and shift for the clip, in the network's own kind."""
    truth = torch.from_numpy(clip.depth)[:, None]
    sized = torch.nn.functional.interpolate(truth, depth.shape[1:], mode="nearest")[:, 0]
    valid = sized > 0
    inverse = kind is Kind.INVERSE_DEPTH
    given, wanted = depth[valid], sized[valid]
    target = 1.0 / wanted if inverse else wanted
    fit = least_squares(moments(given[None], target[None]))
    aligned = fit.scale * given + fit.shift
    estimate = 1.0 / aligned.clamp(min=float(target.min()) / 2) if inverse else aligned
    return float(((estimate - wanted).abs() / wanted).mean())


def _prepared(images: Sequence[np.ndarray] | np.ndarray, preset: ModelPreset) -> Tensor:
    return torch.stack([network_input(image, preset.preprocessing) for image in images])


def _own_size(preset: ModelPreset) -> Size:
    shape = preset.preprocessing.image_shape
    if shape is not None:
        return shape
    side = preset.preprocessing.input_size
    assert side is not None, "a preset has one size or the other"
    return network_size(side, round(DEFAULT_ASPECT * side), preset.preprocessing)
