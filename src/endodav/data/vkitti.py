"""Virtual KITTI 2 (Cabon et al. 2020): rendered streets, depth in centimetres."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float64

from endodav.data.dataset import Clip, Dataset, Range
from endodav.data.files import (
    LARGEST_CODE,
    at_rate,
    explained,
    find_places,
    from_depth_file,
    images_in,
    numbered,
    read_codes,
    write_codes,
    write_images,
    write_text,
)
from endodav.data.poses import MM_PER_METRE, inverted, pinhole, scaled
from endodav.data.sequence import FrameRef, Sequence
from endodav.errors import InputError
from endodav.types import DepthMap

FPS = 10.0
UNIT_MM = 10.0
CAMERA = 0  # the left one
EXTRINSIC_HEADER = "frame cameraID r1,1 r1,2 r1,3 t1 r2,1 r2,2 r2,3 t2 r3,1 r3,2 r3,3 t3 0 0 0 1"
INTRINSIC_HEADER = "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]"


def _locate(root: Path) -> list[Path]:
    return find_places(root, "frames", "extrinsic.txt")


def _read(root: Path, place: Path) -> Sequence:
    images = images_in(place / "frames" / "rgb" / f"Camera_{CAMERA}")
    depths = numbered(place / "frames" / "depth" / f"Camera_{CAMERA}", "*.png")
    cameras = _table(place / "intrinsic.txt", 4)
    extrinsics = _table(place / "extrinsic.txt", 16)
    if lacking := sorted(images.keys() - (cameras.keys() & extrinsics.keys())):
        raise InputError(
            f"{place} has no line for frame {lacking[0]} in intrinsic.txt or extrinsic.txt."
        )
    refs = tuple(
        FrameRef(
            image,
            depths.get(number),
            at_rate(index, FPS),
            inverted(scaled(extrinsics[number].reshape(4, 4), MM_PER_METRE)),
            pinhole(*cameras[number].tolist()),
        )
        for index, (number, image) in enumerate(images.items())
    )
    return Sequence(
        dataset=DATASET.name,
        name=place.relative_to(root).as_posix(),
        refs=refs,
        read_depth=from_depth_file(_read_depth),
    )


def _table(path: Path, columns: int) -> dict[int, Float64[np.ndarray, " columns"]]:
    """The camera's rows by frame; the first line is a header."""
    with explained(path, f"a header, then rows of frame, camera and {columns} numbers"):
        rows = np.loadtxt(path, skiprows=1, ndmin=2)
        if rows.shape[1] != columns + 2:
            raise ValueError(f"found {rows.shape[1]} columns")
    return {int(row[0]): row[2:] for row in rows if row[1] == CAMERA}


def _read_depth(path: Path) -> DepthMap:
    """Millimetres; the largest code is the sky."""
    codes = read_codes(path)
    return np.where(codes == LARGEST_CODE, np.float32(0), codes * np.float32(UNIT_MM))


def _write(clip: Clip, root: Path, number: int) -> None:
    place = root / f"Scene{number + 1:02d}" / "clone"
    camera = f"Camera_{CAMERA}"
    write_images(place / "frames" / "rgb" / camera, "rgb_{:05d}.jpg", clip.images)
    write_codes(place / "frames" / "depth" / camera, "depth_{:05d}.png", clip.depth, UNIT_MM)
    K = clip.intrinsics
    intrinsics, extrinsics = [INTRINSIC_HEADER], [EXTRINSIC_HEADER]
    for index, T in enumerate(clip.T_world_from_camera):
        world_to_camera = inverted(scaled(T, 1 / MM_PER_METRE))
        for lines, values in (
            (intrinsics, (K[0, 0], K[1, 1], K[0, 2], K[1, 2])),
            (extrinsics, world_to_camera.ravel()),
        ):
            lines.append(" ".join(map(str, (index, CAMERA, *map(float, values)))))
    write_text(place / "intrinsic.txt", "\n".join(intrinsics) + "\n")
    write_text(place / "extrinsic.txt", "\n".join(extrinsics) + "\n")


DATASET = Dataset(
    name="vkitti2",
    title="Virtual KITTI 2",
    layout="SceneNN/VARIANT/ with frames/rgb/, frames/depth/, intrinsic.txt and extrinsic.txt",
    locate=_locate,
    read=_read,
    range=Range.STREET,
    write=_write,
    step_mm=UNIT_MM,
)
