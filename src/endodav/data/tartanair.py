"""TartanAir (Wang et al. 2020): AirSim flights, depth in metres as .npy, poses in NED axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from endodav.data.dataset import Clip, Dataset, Range
from endodav.data.files import (
    at_rate,
    find_places,
    from_depth_file,
    images_in,
    numbered,
    place_name,
    read_float_image,
    read_numbers,
    write_each,
    write_images,
    write_numbers,
)
from endodav.data.poses import MM_PER_METRE, from_quaternion, pinhole, pose_matrix, to_quaternion
from endodav.data.sequence import FrameRef, Sequence
from endodav.errors import InputError
from endodav.types import DepthMap

FPS = 10.0
CAMERA = (320.0, 320.0, 320.0, 240.0)  # of all 640x480 pictures
# Columns are our axes (right, down, forward) in AirSim's (forward, right, down).
NED_FROM_OPENCV = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def _locate(root: Path) -> list[Path]:
    return find_places(root, "image_left", "depth_left")


def _read(root: Path, place: Path) -> Sequence:
    images = images_in(place / "image_left")
    depths = numbered(place / "depth_left", "*.npy")
    poses = read_numbers(place / "pose_left.txt", 7)
    if len(poses) != len(images):
        raise InputError(
            f"{place} has {len(images)} images but {len(poses)} poses in pose_left.txt."
        )
    refs = tuple(
        FrameRef(
            image,
            depths.get(number),
            at_rate(index, FPS),
            pose_matrix(from_quaternion(row[3:]) @ NED_FROM_OPENCV, row[:3], MM_PER_METRE),
        )
        for index, ((number, image), row) in enumerate(zip(images.items(), poses, strict=True))
    )
    return Sequence(
        dataset=DATASET.name,
        name=place_name(root, place),
        refs=refs,
        read_depth=from_depth_file(_read_depth),
        intrinsics=pinhole(*CAMERA),
    )


def _read_depth(path: Path) -> DepthMap:
    return read_float_image(path) * np.float32(MM_PER_METRE)


def _write(clip: Clip, root: Path, number: int) -> None:
    folder = root / "rendered" / "Easy" / f"P{number:03d}"
    write_images(folder / "image_left", "{:06d}_left.png", clip.images)
    metres = (clip.depth / MM_PER_METRE).astype(np.float32)
    write_each(folder / "depth_left", "{:06d}_left_depth.npy", metres, np.save)
    rows = [
        (*T[:3, 3] / MM_PER_METRE, *to_quaternion(T[:3, :3] @ NED_FROM_OPENCV.T))
        for T in clip.T_world_from_camera
    ]
    write_numbers(folder / "pose_left.txt", np.array(rows))


DATASET = Dataset(
    name="tartanair",
    title="TartanAir",
    layout="SCENE/LEVEL/PNNN/ with image_left/, depth_left/*.npy and pose_left.txt",
    locate=_locate,
    read=_read,
    range=Range.ANY,
    write=_write,
)
