"""ScanNet (Dai et al. 2017) as its own SensReader exports it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from endodav.data.dataset import Clip, Dataset, Range
from endodav.data.files import (
    at_rate,
    depth_codes,
    explained,
    find_places,
    images_in,
    numbered,
    place_name,
    read_numbers,
    write_codes,
    write_images,
    write_numbers,
)
from endodav.data.poses import MM_PER_METRE, scaled
from endodav.data.sequence import FrameRef, Pose, Sequence, read_image_of
from endodav.errors import InputError
from endodav.types import RGBImage

FPS = 30.0
UNIT_MM = 1.0


def _locate(root: Path) -> list[Path]:
    return find_places(root, "color", "depth", "pose", "intrinsic")


def _read(root: Path, place: Path) -> Sequence:
    depths, poses = numbered(place / "depth", "*.png"), numbered(place / "pose", "*.txt")
    images = images_in(place / "color")
    first = min(images)
    refs = tuple(
        FrameRef(
            image,
            depths.get(number),
            at_rate(number - first, FPS),
            _pose(poses[number]) if number in poses else None,
        )
        for number, image in images.items()
    )
    return Sequence(
        dataset=DATASET.name,
        name=place_name(root, place),
        refs=refs,
        read_depth=depth_codes(UNIT_MM),
        read_image=_image_at_depth_size,
        intrinsics=read_numbers(place / "intrinsic" / "intrinsic_depth.txt", 4)[:3, :3],
    )


def _pose(path: Path) -> Pose | None:
    """Camera to world in metres; frames that could not be tracked are all -inf."""
    T = read_numbers(path, 4)
    if T.shape != (4, 4):
        raise InputError(f"{path} holds {len(T)} rows instead of 4; download it again.")
    return scaled(T, MM_PER_METRE) if np.isfinite(T).all() else None


def _image_at_depth_size(ref: FrameRef) -> RGBImage:
    """Colour is larger than depth; benchmarks shrink it to the depth's size, and so do we."""
    image = read_image_of(ref)
    if ref.depth is None:
        return image
    with explained(ref.depth, "a depth picture"), Image.open(ref.depth) as depth:
        size = depth.size
    if size == (image.shape[1], image.shape[0]):
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def _write(clip: Clip, root: Path, number: int) -> None:
    folder = root / f"scene{number:04d}_00"
    write_images(folder / "color", "{}.jpg", clip.images)
    write_codes(folder / "depth", "{}.png", clip.depth, UNIT_MM)
    for index, T in enumerate(clip.T_world_from_camera):
        write_numbers(folder / "pose" / f"{index}.txt", scaled(T, 1 / MM_PER_METRE))
    camera = np.eye(4)
    camera[:3, :3] = clip.intrinsics
    for kind in ("color", "depth"):
        write_numbers(folder / "intrinsic" / f"intrinsic_{kind}.txt", camera)


DATASET = Dataset(
    name="scannet",
    title="ScanNet (exported)",
    layout="sceneNNNN_NN/ with color/, depth/, pose/ and intrinsic/",
    locate=_locate,
    read=_read,
    range=Range.ROOM,
    write=_write,
    step_mm=UNIT_MM,
)
