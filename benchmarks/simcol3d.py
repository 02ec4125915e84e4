"""How right is a model on the SimCol3D sample? Writes benchmarks/results/simcol3d.json.

python benchmarks/simcol3d.py ../shared/data/simcol3d endodav-tiny [MODEL OR RUN FOLDER ...]

Protocol: the ten frames as one video; scale and shift by least squares in depth, frame by frame;
mean over frames. The floors are what one gets without a network: a constant, and the fall of light
with the square of the distance, depth = 1/sqrt(brightness^2.2) of the blurred largest channel.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from common import store
from torch import Tensor

from endodav.data.registry import open_dataset
from endodav.evaluation.protocols import per_frame_least_squares_in_depth
from endodav.inference.estimator import DepthEstimator
from endodav.types import Kind

DISPLAY_GAMMA = 2.2
BLUR_SIGMA = 3.3  # pixels


class Clip(NamedTuple):
    """Images [time, height, width, 3] and their depth in millimetres."""

    images: np.ndarray
    depth: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="FrameBuffer_*.png and Depth_*.png")
    parser.add_argument("models", nargs="+", help="preset names or run folders")
    args = parser.parse_args()
    clip = read(args.folder)
    constant = np.ones(clip.depth.shape, np.float32)
    results = {
        "constant": {"errors": errors(constant, Kind.DEPTH, clip)},
        "illumination prior": {"errors": errors(illumination_prior(clip), Kind.DEPTH, clip)},
    }
    for name in args.models:
        estimator = DepthEstimator.from_pretrained(name)
        prediction = estimator.predict(clip.images)
        meta = asdict(estimator.meta)
        results[Path(name).name] = {
            "errors": errors(prediction, estimator.meta.kind, clip),
            **{key: meta[key] for key in ("weights_sha256", "settings")},
        }
    report = {
        "data": "SimCol3D sample, 10 frames of 475x475",
        "protocol": "per-frame least-squares scale and shift in depth; mean over frames",
        "results": results,
    }
    store("simcol3d.json", report)


def read(folder: Path) -> Clip:
    (sequence,) = open_dataset("simcol3d", folder)
    samples = list(sequence)
    images, depth = zip(*((sample.image, sample.depth) for sample in samples), strict=True)
    return Clip(np.stack(images), np.stack(depth))


def errors(prediction: np.ndarray, kind: Kind, clip: Clip) -> dict[str, float]:
    found = per_frame_least_squares_in_depth(prediction, kind, clip.depth, clip.depth > 0)
    return {name: round(value, 4) for name, value in asdict(found).items()}


def illumination_prior(clip: Clip) -> np.ndarray:
    brightness = torch.from_numpy(clip.images.max(axis=3)).float()[:, None] / 255
    linear = blur(brightness) ** DISPLAY_GAMMA
    return linear.clamp(min=1e-6).rsqrt()[:, 0].numpy()


def blur(images: Tensor) -> Tensor:
    """Gaussian of `BLUR_SIGMA`, borders mirrored."""
    radius = round(4 * BLUR_SIGMA)
    offsets = torch.arange(-radius, radius + 1.0)
    kernel = torch.exp(-0.5 * (offsets / BLUR_SIGMA) ** 2)
    kernel = (kernel / kernel.sum())[None, None, None]
    padded = torch.nn.functional.pad(images, [radius] * 4, mode="reflect")
    rows = torch.nn.functional.conv2d(padded, kernel)
    return torch.nn.functional.conv2d(rows, kernel.mT)


if __name__ == "__main__":
    main()
