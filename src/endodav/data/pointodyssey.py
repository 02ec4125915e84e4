"""PointOdyssey (Zheng et al. 2023): rendered people and animals, 16-bit depth over 1000 m."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from endodav.data.dataset import Clip, Dataset, Range
from endodav.data.files import (
    LARGEST_CODE,
    at_rate,
    explained,
    find_places,
    from_depth_file,
    images_in,
    numbered,
    place_name,
    read_codes,
    write_codes,
    write_images,
)
from endodav.data.poses import MM_PER_METRE, inverted, scaled
from endodav.data.sequence import FrameRef, Sequence
from endodav.errors import InputError
from endodav.types import DepthMap

FPS = 30.0
UNIT_MM = 1000 * MM_PER_METRE / LARGEST_CODE
ANNOTATION = "anno.npz"


def _locate(root: Path) -> list[Path]:
    return find_places(root, "rgbs", "depths", ANNOTATION)


def _read(root: Path, place: Path) -> Sequence:
    images, depths = images_in(place / "rgbs"), numbered(place / "depths", "*.png")
    path = place / ANNOTATION
    with explained(path, "intrinsics and extrinsics"), np.load(path, allow_pickle=False) as stored:
        cameras = stored["intrinsics"].astype(np.float64).reshape(-1, 3, 3)
        extrinsics = stored["extrinsics"].astype(np.float64).reshape(-1, 4, 4)
    if not len(cameras) == len(extrinsics) == len(images):
        raise InputError(
            f"{path} has {len(cameras)} intrinsics and {len(extrinsics)} extrinsics, but there are "
            f"{len(images)} images."
        )
    refs = tuple(
        FrameRef(
            image,
            depths.get(number),
            at_rate(index, FPS),
            inverted(scaled(world_to_camera, MM_PER_METRE)),
            camera,
        )
        for index, ((number, image), camera, world_to_camera) in enumerate(
            zip(images.items(), cameras, extrinsics, strict=True)
        )
    )
    return Sequence(
        dataset=DATASET.name,
        name=place_name(root, place),
        refs=refs,
        read_depth=from_depth_file(_read_depth),
    )


def _read_depth(path: Path) -> DepthMap:
    """Millimetres; the largest code is whatever is farther than 1000 m."""
    codes = read_codes(path)
    return np.where(codes == LARGEST_CODE, np.float32(0), codes * np.float32(UNIT_MM))


def _write(clip: Clip, root: Path, number: int) -> None:
    folder = root / "train" / f"rendered_{number:03d}"
    write_images(folder / "rgbs", "rgb_{:05d}.jpg", clip.images)
    write_codes(folder / "depths", "depth_{:05d}.png", clip.depth, UNIT_MM)
    extrinsics = [inverted(scaled(T, 1 / MM_PER_METRE)) for T in clip.T_world_from_camera]
    intrinsics = np.broadcast_to(clip.intrinsics, (len(extrinsics), 3, 3))
    np.savez(folder / ANNOTATION, intrinsics=intrinsics, extrinsics=np.stack(extrinsics))


DATASET = Dataset(
    name="pointodyssey",
    title="PointOdyssey",
    layout="SPLIT/SCENE/ with rgbs/, depths/ and anno.npz",
    locate=_locate,
    read=_read,
    range=Range.ANY,
    write=_write,
    step_mm=UNIT_MM,
)
