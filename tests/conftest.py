"""Shared fixtures, and the hook that checks the package's shape annotations while tests run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

# An int is welcome where a float is asked for (PEP 484), as type checkers have it.
TYPE_CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"

if os.environ.get("JAXTYPING_DISABLE", "0") in ("", "0"):  # torch.compile cannot trace the checks
    install_import_hook("endodav", TYPE_CHECKER)

# The same examples in every run, few enough for every push; no deadline for a busy machine to miss.
settings.register_profile("endodav", derandomize=True, max_examples=50, deadline=None)
settings.load_profile("endodav")

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
DEFAULT_PIXEL_FORMATS = {"ffv1": "bgr0", "mjpeg": "yuvj420p"}


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real clips; tests that need it are skipped where it does not exist."""
    folder = Path(os.environ.get("ENDODAV_REAL_DATA", REAL_DATA))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set ENDODAV_REAL_DATA to a folder that has it")
    return folder


def numbered_images(count: int, height: int, width: int) -> np.ndarray:
    """[count, height, width, 3] uint8; frame k has the grey level (8 + 16 k) mod 240 all over."""
    levels = (8 + 16 * np.arange(count)) % 240
    return np.broadcast_to(
        levels.astype(np.uint8)[:, None, None, None], (count, height, width, 3)
    ).copy()


def write_video(
    path: Path,
    images: np.ndarray | None = None,
    *,
    count: int = 10,
    size: tuple[int, int] = (48, 64),
    fps: Fraction | int = 25,
    codec: str = "libx264",
    pixel_format: str | None = None,
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 1000),
    rotation: int = 0,
    container_options: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    **stream_attributes: Any,
) -> np.ndarray:
    """Write a small video and return the RGB images it was made of.

    Args:
        path: its suffix chooses the container.
        images: [time, height, width, 3] uint8; `numbered_images(count, *size)` if not given.
        count: number of frames where `images` is not given.
        size: (height, width) where `images` is not given.
        fps: nominal rate.
        codec: encoder name of FFmpeg; "ffv1" in .mkv is lossless RGB by default.
        pixel_format: FFmpeg's name; yuv420p for most codecs by default.
        pts: presentation times in units of `time_base`, for variable rate; k / fps by default.
        time_base: unit of `pts`.
        rotation: degrees counter-clockwise that a player has to turn the picture.
        container_options: options of the container, as in {"movflags": "faststart"}.
        options: options of the encoder.
        stream_attributes: set on the codec context, as in `color_range=2`.
    """
    images = numbered_images(count, *size) if images is None else images
    pixel_format = pixel_format or DEFAULT_PIXEL_FORMATS.get(codec, "yuv420p")
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.height, stream.width = images.shape[1:3]
        stream.pix_fmt = pixel_format
        if rotation:
            stream.set_display_rotation(rotation)
        for name, value in stream_attributes.items():
            setattr(stream.codec_context, name, value)
        if pts is not None:
            stream.codec_context.time_base = time_base
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame = frame.reformat(format=pixel_format, dst_color_range=stream.color_range or None)
            frame.pts = index if pts is None else pts[index]
            frame.time_base = 1 / Fraction(fps) if pts is None else time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return images


@pytest.fixture(scope="session")
def make_video() -> Callable[..., np.ndarray]:
    """The helper `write_video`, see there."""
    return write_video
