"""Synthetic clips as files that other programs can read without this package."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from fractions import Fraction
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from endodav.errors import OutputError
from endodav.synthetic.clip import GENERATION, RenderedClip

DEPTH_UNIT = 0.01  # mm a step of the 16-bit depth pictures: 0.01 to 655.35 mm; 0 is "unknown"
VISUALLY_LOSSLESS = 12  # constant rate factor of H.264


def write_clip(clip: RenderedClip, out_dir: Path, fps: float = 25.0) -> None:
    """Write a clip and its ground truth into a new folder.

    The folder holds `video.mp4` (H.264), `images/00000.png` ..., `depth/00000.png` ... (16 bits,
    steps of 0.01 mm, 0 where unknown), `poses.txt` (camera to world, a row-major 4x4 matrix a line,
    mm), `K.txt` (3x3, pixels), `flow.npz` if the clip has flow, and `meta.json`, which says all
    this. It is written under a temporary name and renamed when complete.

    Args:
        clip: what to write.
        out_dir: the folder to make; must not exist yet.
        fps: frames a second of the video.

    Raises:
        OutputError: if the folder exists or cannot be written.
    """
    check_is_new(out_dir)
    partial = partial_name(out_dir)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        _write_files(clip, partial, fps)
        partial.rename(out_dir)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{out_dir} cannot be written ({reason}); choose a folder with write access and space."
        ) from error
    finally:  # nothing is left under that name once it has been renamed
        shutil.rmtree(partial, ignore_errors=True)


def partial_name(path: Path) -> Path:
    """Where something is written before it gets its final name."""
    return path.with_name(path.name + ".partial")


def check_is_new(folder: Path) -> None:
    """See that a clip's folder does not exist yet, which is better known before rendering.

    Raises:
        OutputError: it does.
    """
    if folder.exists():
        raise OutputError(f"{folder} exists already; delete it or choose another folder.")


def _write_files(clip: RenderedClip, folder: Path, fps: float) -> None:
    (folder / "images").mkdir(parents=True)
    (folder / "depth").mkdir()
    steps = np.round(clip.depth / DEPTH_UNIT).astype(np.uint16)
    for index, (image, depth) in enumerate(zip(clip.images, steps, strict=True)):
        Image.fromarray(image).save(folder / "images" / f"{index:05d}.png")
        Image.fromarray(depth).save(folder / "depth" / f"{index:05d}.png")
    np.savetxt(folder / "poses.txt", clip.T_world_from_camera.reshape(-1, 16), fmt="%.9g")
    np.savetxt(folder / "K.txt", clip.intrinsics, fmt="%.9g")
    if clip.flow is not None:
        np.savez_compressed(folder / "flow.npz", flow=clip.flow)
    (folder / "meta.json").write_text(json.dumps(_describe(clip, fps), indent=2) + "\n")
    write_video(clip.images, folder / "video.mp4", fps)


def _describe(clip: RenderedClip, fps: float) -> dict[str, object]:
    frames, height, width = clip.depth.shape
    description: dict[str, object] = {
        "family": clip.family,
        "seed": clip.seed,
        "generation": GENERATION,
        "endodav_version": version("endodav"),
        "frames": frames,
        "height": height,
        "width": width,
        "fps": fps,
        "depth": "Z-depth along the optical axis, 16-bit PNG, 0 = unknown",
        "depth_unit_mm": DEPTH_UNIT,
        "poses": "camera (x right, y down, z forward) to world, row-major 4x4 a line, mm",
        "intrinsics": "3x3 in pixels; integers are pixel centres",
        "distortion": clip.distortion,
        "distortion_model": "(x, y, 1) = K^-1 (u, v, 1) sees (x s, y s, 1), s = 1 + k (x^2 + y^2)",
    }
    if clip.flow is not None:
        description["flow"] = (
            "flow.npz, flow[t, row, column] = (x, y) in pixels to where the point seen in frame t "
            "is in frame t + 1, hidden there or not; 0 where the depth is unknown"
        )
    return description


def write_video(
    images: Iterable[UInt8[np.ndarray, "height width 3"]],
    path: Path,
    fps: float,
    crf: int = VISUALLY_LOSSLESS,
) -> None:
    """Encode pictures as H.264.

    Args:
        images: sRGB, 8 bits; at least one.
        path: its suffix chooses the container.
        fps: frames a second.
        crf: constant rate factor; 0 is lossless, 51 the worst.
    """
    coming = iter(images)
    first = next(coming)
    height, width = first.shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = height, width
        # players want halved chroma, which needs even sides
        stream.pix_fmt = "yuv444p" if height % 2 or width % 2 else "yuv420p"
        stream.options = {"crf": str(crf), "preset": "slow"}
        for image in chain([first], coming):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
