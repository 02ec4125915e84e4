"""Hamlyn's laparoscopies as rectified by Recasens et al. (2021): depth from stereo matching."""

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
from endodav.data.sequence import Flag, FrameRef, Sequence

FPS = 25.0
UNIT_MM = 1.0


def _locate(root: Path) -> list[Path]:
    return find_places(root, "image01")


def _read(root: Path, place: Path) -> Sequence:
    depths = numbered(place / "depth01", "*.png")
    refs = tuple(
        FrameRef(image, depths.get(number), at_rate(index, FPS))
        for index, (number, image) in enumerate(images_in(place / "image01").items())
    )
    return Sequence(
        dataset=DATASET.name,
        name=place_name(root, place).split("/")[-1],  # the archives nest rectifiedNN/rectifiedNN
        refs=refs,
        read_depth=depth_codes(UNIT_MM),
        intrinsics=read_numbers(place / "intrinsics.txt")[:3, :3],
        flags=frozenset({Flag.ESTIMATED}),
    )


def _write(clip: Clip, root: Path, number: int) -> None:
    folder = root / f"rectified{number + 1:02d}"
    write_images(folder / "image01", "{:010d}.jpg", clip.images)
    write_codes(folder / "depth01", "{:010d}.png", clip.depth, UNIT_MM)
    write_numbers(folder / "intrinsics.txt", np.pad(clip.intrinsics, ((0, 0), (0, 1))))


DATASET = Dataset(
    name="hamlyn",
    title="Hamlyn (rectified)",
    layout="rectifiedNN/ with image01/*.jpg, depth01/*.png and intrinsics.txt",
    locate=_locate,
    read=_read,
    range=Range.ENDOSCOPE,
    write=_write,
    step_mm=UNIT_MM,
    has_poses=False,
)
