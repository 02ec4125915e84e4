"""NYU Depth V2 (Silberman et al. 2012): the labelled set, or its export (BTS, Lee et al. 2019)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from endodav.data import nyuv2_labelled
from endodav.data.dataset import Clip, Dataset, Range
from endodav.data.files import (
    at_rate,
    depth_codes,
    find_places,
    images_in,
    numbered,
    place_name,
    write_codes,
    write_images,
)
from endodav.data.poses import pinhole
from endodav.data.sequence import Flag, FrameRef, Sequence

UNIT_MM = 1.0
NOMINAL_FPS = 1.0  # stills
# The colour camera of the authors' toolbox; the pictures are undistorted.
CAMERA = (518.85790117450188, 519.46961112127485, 325.58244941119034, 253.73616633400465)


def _locate(root: Path) -> list[Path]:
    labelled = [
        folder / part
        for folder in find_places(root, nyuv2_labelled.FILE)
        for part in nyuv2_labelled.parts(folder)
    ]
    return labelled + find_places(root, "rgb_*", "sync_depth_*.png")


def _read(root: Path, place: Path) -> Sequence:
    if place.name in nyuv2_labelled.parts(place.parent):
        return Sequence(
            dataset=DATASET.name,
            name=place_name(root, place),
            refs=nyuv2_labelled.refs(place.parent, place.name, partial(at_rate, fps=NOMINAL_FPS)),
            read_depth=nyuv2_labelled.read_depth,
            read_image=nyuv2_labelled.read_image,
            intrinsics=pinhole(*CAMERA),
            flags=frozenset({Flag.STILLS}),
        )
    depths = numbered(place, "sync_depth_*.png")
    return Sequence(
        dataset=DATASET.name,
        name=place_name(root, place),
        refs=tuple(
            FrameRef(image, depths.get(number), at_rate(index, NOMINAL_FPS))
            for index, (number, image) in enumerate(images_in(place, "rgb_*").items())
        ),
        read_depth=depth_codes(UNIT_MM),
        intrinsics=pinhole(*CAMERA),
        flags=frozenset({Flag.STILLS}),
    )


def _write(clip: Clip, root: Path, number: int) -> None:
    folder = root / f"rendered_{number:04d}"
    write_images(folder, "rgb_{:05d}.jpg", clip.images)
    write_codes(folder, "sync_depth_{:05d}.png", clip.depth, UNIT_MM)


DATASET = Dataset(
    name="nyuv2",
    title="NYU Depth V2",
    layout=f"{nyuv2_labelled.FILE}, or folders with rgb_NNNNN.jpg and sync_depth_NNNNN.png",
    locate=_locate,
    read=_read,
    range=Range.ROOM,
    write=_write,
    step_mm=UNIT_MM,
    has_poses=False,
)
