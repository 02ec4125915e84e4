"""KITTI's raw drives with the annotated depth of Uhrig et al. (2017): sparse lidar, no poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from endodav.data.dataset import Clip, Dataset, Range
from endodav.data.files import (
    at_rate,
    depth_codes,
    explained,
    find_places,
    images_in,
    write_codes,
    write_images,
    write_text,
)
from endodav.data.poses import MM_PER_METRE
from endodav.data.sequence import Flag, FrameRef, Intrinsics, Sequence
from endodav.errors import InputError

FPS = 10.0
UNIT_MM = MM_PER_METRE / 256
CAMERA = "image_02"  # the left colour camera
DATE_LENGTH = len("2011_09_26")
RAW_FOLDERS = ("", "raw", "raw_data", "kitti_raw")


def _locate(root: Path) -> list[Path]:
    truths = find_places(root, "groundtruth")
    return [
        truth.parent
        for truth in truths
        if truth.name == "proj_depth" and (truth / "groundtruth" / CAMERA).is_dir()
    ]


def _read(root: Path, place: Path) -> Sequence:
    drive = place.name
    date = drive[:DATE_LENGTH]
    raw = next(
        (root / name / date for name in RAW_FOLDERS if (root / name / date / drive).is_dir()), None
    )
    if raw is None:
        raise InputError(f"{root / date / drive} is missing; it should hold the raw drive.")
    # the first and last five frames of a drive have no annotated depth, so depth names the frames
    depths = images_in(place / "proj_depth" / "groundtruth" / CAMERA, "*.png")
    images = images_in(raw / drive / CAMERA / "data")
    lacking = sorted(depths.keys() - images.keys())
    if lacking:
        raise InputError(
            f"{raw / drive / CAMERA / 'data'} lacks {len(lacking)} images that have depth, "
            f"the first is {lacking[0]:010d}."
        )
    first = min(depths)
    refs = tuple(
        FrameRef(images[number], depth, at_rate(number - first, FPS))
        for number, depth in depths.items()
    )
    return Sequence(
        dataset=DATASET.name,
        name=drive,
        refs=refs,
        read_depth=depth_codes(UNIT_MM),
        intrinsics=_intrinsics(raw / "calib_cam_to_cam.txt"),
        flags=frozenset({Flag.SPARSE}),
    )


def _intrinsics(path: Path) -> Intrinsics:
    """Left 3x3 of the rectified projection of the camera."""
    key = f"P_rect_{CAMERA[-2:]}:"
    with explained(path, f"a line {key}"):
        line = next((line for line in path.read_text().splitlines() if line.startswith(key)), None)
        if line is None:
            raise ValueError("there is none")
        return np.array(line.split()[1:], np.float64).reshape(3, 4)[:, :3]


def _write(clip: Clip, root: Path, number: int) -> None:
    drive = f"2011_09_26_drive_{number:04d}_sync"
    date = root / drive[:DATE_LENGTH]
    write_images(date / drive / CAMERA / "data", "{:010d}.png", clip.images)
    truth = root / "val" / drive / "proj_depth" / "groundtruth" / CAMERA
    write_codes(truth, "{:010d}.png", clip.depth, UNIT_MM)
    projection = np.pad(clip.intrinsics, ((0, 0), (0, 1))).ravel()
    numbers = " ".join(f"{value:.17g}" for value in projection)
    write_text(date / "calib_cam_to_cam.txt", f"P_rect_{CAMERA[-2:]}: {numbers}\n")


DATASET = Dataset(
    name="kitti",
    title="KITTI (raw drives and annotated depth)",
    layout=(
        "val/DRIVE/proj_depth/groundtruth/image_02/*.png and DATE/DRIVE/image_02/data/*.png with "
        "DATE/calib_cam_to_cam.txt"
    ),
    locate=_locate,
    read=_read,
    range=Range.STREET,
    write=_write,
    step_mm=UNIT_MM,
    has_poses=False,
)
