"""SimCol3D: a simulated colon with depth (Rau et al., 2022; data CC BY-NC-SA 4.0)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from endodav.errors import InputError

FULL_SCALE = 65280  # 255 * 256: the stored value that stands for `FULL_SCALE_DEPTH`
FULL_SCALE_DEPTH = 200.0  # millimetres


class SimColClip(NamedTuple):
    """Images and depth (millimetres) of a folder, in order."""

    images: UInt8[np.ndarray, "time height width 3"]
    depth: Float32[np.ndarray, "time height width"]


def read_simcol(folder: Path) -> SimColClip:
    """Read `FrameBuffer_*.png` and `Depth_*.png` of a folder.

    Raises:
        InputError: there are none, or an image has no depth.
    """
    images = sorted(folder.glob("FrameBuffer_*.png"))
    depths = [path.with_name(path.name.replace("FrameBuffer", "Depth")) for path in images]
    if not images or not all(path.exists() for path in depths):
        raise InputError(
            f"'{folder}' is no SimCol3D folder: it needs FrameBuffer_*.png with their Depth_*.png."
        )
    return SimColClip(
        np.stack([np.asarray(Image.open(path).convert("RGB")) for path in images]),
        np.stack([_read_depth(path) for path in depths]),
    )


def _read_depth(path: Path) -> Float32[np.ndarray, "height width"]:
    stored = np.asarray(Image.open(path)).astype(np.float32)
    return np.asarray(stored * np.float32(FULL_SCALE_DEPTH / FULL_SCALE))
