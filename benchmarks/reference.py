"""Video Depth Anything's inference as naively as it can be written: what ours is compared with.

The whole video in memory at once; every window of 32 frames through the whole network, with no
frame's features kept for the next; float32, eager; attention as softmax(q k^T) v; every map of
every window resized to the size of the frames; then scale and shift on the two key frames, and a
fade over the 8 overlapping ones. The weights are those of our own networks, and the depth must be
the same as ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from endodav.inference.predictor import device_of
from endodav.inference.preprocess import network_input
from endodav.models.presets import ModelPreset

# Video Depth Anything, sec. 3.3
WINDOW, KEYS, OVERLAP, STEP = 32, 2, 8, 22
KEY_POSITIONS = (0, 12)  # in the window before


@torch.inference_mode()
def naive_depth(
    network: nn.Module, preset: ModelPreset, images: np.ndarray, input_size: int | None = None
) -> np.ndarray:
    """Depth of a whole video.

    Args:
        network: any video network of `endodav.models.depth` that `preset` describes.
        preset: its input.
        images: RGB, uint8, [time, height, width, 3].
        input_size: shorter side of what the network sees; the model's own if not given.

    Returns:
        float32 [time, height, width], as the strategy `vda` gives it.
    """
    device = device_of(network)
    inputs = torch.stack(
        [network_input(image, preset.preprocessing, input_size, device) for image in images]
    )
    windows, maps = list(windows_of(len(images))), []
    with plain_attention():
        for frames in windows:
            depth = network.predict_clip(inputs[[min(i, len(images) - 1) for i in frames]])
            full = F.interpolate(
                depth[:, None], images.shape[1:3], mode="bilinear", align_corners=True
            )
            maps.append(full[:, 0].cpu().numpy())
    aligned = join(windows, maps)
    return np.stack([aligned[index] for index in range(len(images))])


def windows_of(count: int) -> Iterator[list[int]]:
    """The frames of each window; those past the end of the video stand for its last one."""
    frames = list(range(WINDOW))
    for _ in range(0, count, STEP):
        yield frames
        keys = [frames[position] for position in KEY_POSITIONS]
        new = range(frames[-1] + 1, frames[-1] + 1 + STEP)
        frames = [*keys, *frames[-OVERLAP:], *new]


def join(windows: list[list[int]], maps: list[np.ndarray]) -> dict[int, np.ndarray]:
    """One depth for each frame, on the scale of the first window."""
    depth = dict(zip(windows[0], maps[0], strict=True))
    for frames, own in zip(windows[1:], maps[1:], strict=True):
        earlier = np.stack([depth[index] for index in frames[:KEYS]])
        scale, shift = fit(own[:KEYS], earlier)
        aligned = np.maximum(scale * own + shift, 0)
        for position in range(KEYS, WINDOW):
            index, place = frames[position], position - KEYS
            weight = place / (OVERLAP - 1) if place < OVERLAP else 1
            before = depth[index] if place < OVERLAP else 0
            depth[index] = (1 - weight) * before + weight * aligned[position]
    return depth


def fit(x: np.ndarray, y: np.ndarray) -> tuple[np.float32, np.float32]:
    """Least squares of y = scale x + shift; a scale that is not positive gives way to the means."""
    system = np.stack([x.ravel(), np.ones(x.size)], axis=1)
    scale, shift = np.linalg.lstsq(system, y.ravel().astype(float))[0]
    if scale <= 0:
        scale, shift = y.mean() / x.mean(), 0.0
    return np.float32(scale), np.float32(shift)


@contextmanager
def plain_attention() -> Iterator[None]:
    """Attention as its definition says, instead of PyTorch's fused kernels."""

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        return scores.softmax(dim=-1) @ value

    with mock.patch.object(F, "scaled_dot_product_attention", attend):
        yield
