"""SimCol3D (Rau et al. 2024): a rendered colon, Unity's poses and 16-bit depth over 20 cm."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from endodav.data.dataset import Clip, Dataset, Range
from endodav.data.files import (
    at_rate,
    depth_codes,
    find_places,
    images_in,
    numbered,
    place_name,
    read_numbers,
    write_codes,
    write_images,
    write_numbers,
)
from endodav.data.poses import from_quaternion, pose_matrix, to_quaternion
from endodav.data.sequence import FrameRef, Pose, Sequence
from endodav.errors import InputError

FPS = 30.0
UNIT_MM = 200.0 / 65280  # 0..65280, which is 255 * 256, stands for 0..20 cm
POSE_UNIT_MM = 10.0  # centimetres
# Unity is left-handed, y up; mirroring y on both sides makes poses right-handed, y down.
MIRROR = np.diag([1.0, -1.0, 1.0, 1.0])
FRAMES = "Frames_"


def _locate(root: Path) -> list[Path]:
    return find_places(root, "FrameBuffer_*.png")


def _read(root: Path, place: Path) -> Sequence:
    images = images_in(place, "FrameBuffer_*.png")
    depths = numbered(place, "Depth_*.png")
    poses: list[Pose | None] = [None] * len(images)
    intrinsics = None
    if place.name.startswith(FRAMES):  # a whole trajectory; the sample on the web is bare pictures
        poses = _read_poses(place, len(images))
        intrinsics = read_numbers(place.parent / "cam.txt").reshape(3, 3)
    refs = tuple(
        FrameRef(image, depths.get(number), at_rate(index, FPS), pose)
        for index, ((number, image), pose) in enumerate(zip(images.items(), poses, strict=True))
    )
    return Sequence(
        dataset=DATASET.name,
        name=place_name(root, place),
        refs=refs,
        read_depth=depth_codes(UNIT_MM),
        intrinsics=intrinsics,
    )


def _read_poses(place: Path, frames: int) -> list[Pose | None]:
    name = place.name.removeprefix(FRAMES)
    positions = read_numbers(place.parent / f"SavedPosition_{name}.txt", 3)
    rotations = read_numbers(place.parent / f"SavedRotationQuaternion_{name}.txt", 4)
    if not len(positions) == len(rotations) == frames:
        raise InputError(
            f"{place} has {frames} images, but {len(positions)} positions and {len(rotations)} "
            f"rotations are saved for {name} beside it."
        )
    return [
        MIRROR @ pose_matrix(from_quaternion(rotation), position, POSE_UNIT_MM) @ MIRROR
        for position, rotation in zip(positions, rotations, strict=True)
    ]


def _write(clip: Clip, root: Path, number: int) -> None:
    folder, name = root / "SyntheticColon_I", f"S{number + 1}"
    write_images(folder / f"{FRAMES}{name}", "FrameBuffer_{:04d}.png", clip.images)
    write_codes(folder / f"{FRAMES}{name}", "Depth_{:04d}.png", clip.depth, UNIT_MM)
    unity = MIRROR @ clip.T_world_from_camera @ MIRROR
    write_numbers(folder / f"SavedPosition_{name}.txt", unity[:, :3, 3] / POSE_UNIT_MM)
    rotations = np.stack([to_quaternion(T[:3, :3]) for T in unity])
    write_numbers(folder / f"SavedRotationQuaternion_{name}.txt", rotations)
    write_numbers(folder / "cam.txt", clip.intrinsics)


DATASET = Dataset(
    name="simcol3d",
    title="SimCol3D",
    layout="Frames_*/ with FrameBuffer_*.png and Depth_*.png, poses and cam.txt beside it",
    locate=_locate,
    read=_read,
    range=Range.ENDOSCOPE,
    write=_write,
    step_mm=UNIT_MM,
)
