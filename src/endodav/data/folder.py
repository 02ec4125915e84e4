"""Plain folders: pictures or a video, depth, poses and a camera; what `endodav render` writes.

`meta.json` says the units. A folder without one follows the habit of RGB-D sets: depth codes in
millimetres, poses in metres.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from endodav.data.dataset import Clip, Dataset, Range
from endodav.data.files import (
    at_rate,
    explained,
    find_places,
    from_depth_file,
    images_in,
    numbered,
    place_name,
    read_float_image,
    read_json,
    read_numbers,
    scaled_codes,
    write_codes,
    write_images,
    write_numbers,
    write_text,
)
from endodav.data.poses import MM_PER_METRE, scaled
from endodav.data.sequence import Distortion, FrameRef, LensModel, Pose, Sequence
from endodav.errors import InputError
from endodav.types import DepthMap
from endodav.video.decode import VIDEO_SUFFIXES, VideoFile

IMAGE_FOLDERS = ("images", "rgb", "color", "left", "frames")
DEPTH_SUFFIXES = frozenset({".exr", ".npy", ".png", ".tif", ".tiff"})
META = "meta.json"
DEPTH_UNIT_MM = 0.01  # of clips written by us, as in `endodav.synthetic.writer`
DEFAULT_FPS = 25.0


def _locate(root: Path) -> list[Path]:
    return [
        place
        for place in find_places(root, "depth")
        if (place / "depth").is_dir() and (_image_folder(place) or _videos(place))
    ]


def _locate_described(root: Path) -> list[Path]:
    return [
        place
        for place in _locate(root)
        if (place / META).exists() and "depth_unit_mm" in read_json(place / META)
    ]


def _image_folder(place: Path) -> Path | None:
    return next((place / name for name in IMAGE_FOLDERS if (place / name).is_dir()), None)


def _videos(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)


def _read(root: Path, place: Path, dataset: str) -> Sequence:
    meta: dict[str, Any] = read_json(place / META) if (place / META).exists() else {}
    with explained(place / META, "units, rate and distortion"):
        unit = float(meta.get("depth_unit_mm", 1.0))
        pose_unit = float(meta.get("pose_unit_mm", 1.0 if meta else MM_PER_METRE))
        fps = float(meta.get("fps", DEFAULT_FPS))
        bend = float(meta.get("distortion", 0.0))
    depths = {
        number: path
        for number, path in numbered(place / "depth").items()
        if path.suffix.lower() in DEPTH_SUFFIXES
    }
    if not depths:
        raise InputError(f"{place / 'depth'} holds no {', '.join(sorted(DEPTH_SUFFIXES))} file.")
    images, video = _pictures(place, depths)
    poses = _read_poses(place, len(images), pose_unit)
    return Sequence(
        dataset=dataset,
        name=place_name(root, place),
        refs=tuple(
            FrameRef(image, depths.get(number), at_rate(index, fps), pose)
            for index, ((number, image), pose) in enumerate(zip(images.items(), poses, strict=True))
        ),
        read_depth=from_depth_file(partial(_read_depth, unit=unit)),
        video=video,
        intrinsics=read_numbers(place / "K.txt", 3) if (place / "K.txt").exists() else None,
        distortion=Distortion(LensModel.RADIAL_RAYS, (bend,)) if bend else None,
    )


def _pictures(place: Path, depths: dict[int, Path]) -> tuple[dict[int, Path], VideoFile | None]:
    """Pictures by number; from the video, whose k-th frame belongs to the k-th depth map."""
    if folder := _image_folder(place):
        return images_in(folder), None
    path, *others = _videos(place)
    if others:
        raise InputError(f"{place} holds several videos; leave the one that the depth belongs to.")
    return dict.fromkeys(depths, path), VideoFile(path)


def _read_poses(place: Path, frames: int, unit_mm: float) -> list[Pose | None]:
    """poses.txt: a row-major 3x4 or 4x4 matrix a line, camera to world."""
    path = place / "poses.txt"
    if not path.exists():
        return [None] * frames
    rows = read_numbers(path)
    if rows.shape[1] not in (12, 16) or len(rows) != frames:
        raise InputError(
            f"{path} holds {len(rows)} lines of {rows.shape[1]} numbers, but {frames} frames need "
            f"{frames} lines of 12 or 16."
        )
    bottom = np.tile([0.0, 0.0, 0.0, 1.0], (frames, 1))
    matrices = np.hstack([rows[:, :12], bottom]).reshape(-1, 4, 4)
    return [scaled(T, unit_mm) for T in matrices]


def _read_depth(path: Path, unit: float) -> DepthMap:
    if path.suffix.lower() == ".png":
        return scaled_codes(path, unit)
    return read_float_image(path) * np.float32(unit)


def _write(clip: Clip, root: Path, number: int) -> None:
    folder = root / f"clip_{number:03d}"
    write_images(folder / "images", "{:05d}.png", clip.images)
    write_codes(folder / "depth", "{:05d}.png", clip.depth, DEPTH_UNIT_MM)
    write_numbers(folder / "poses.txt", clip.T_world_from_camera.reshape(-1, 16))
    write_numbers(folder / "K.txt", clip.intrinsics)
    meta = {"fps": clip.fps, "depth_unit_mm": DEPTH_UNIT_MM, "pose_unit_mm": 1.0}
    write_text(folder / META, json.dumps(meta))


FOLDER = Dataset(
    name="folder",
    title="a folder of RGB-D frames",
    layout="images/ (or a video), depth/, and where known poses.txt, K.txt and meta.json",
    locate=_locate,
    read=partial(_read, dataset="folder"),
    range=Range.ANY,
    write=_write,
    step_mm=DEPTH_UNIT_MM,
)
RENDERED = Dataset(
    name="rendered",
    title="clips of `endodav render`",
    layout="folders with images/, depth/, poses.txt, K.txt and a meta.json that says depth_unit_mm",
    locate=_locate_described,
    read=partial(_read, dataset="rendered"),
    range=Range.ENDOSCOPE,
)
