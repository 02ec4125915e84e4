"""EndoNeRF (Wang et al. 2022): deforming tissue under tools, with depth from stereo matching."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from endodav.data.dataset import Clip, Dataset, Range
from endodav.data.files import (
    at_rate,
    explained,
    find_places,
    images_in,
    number_of,
    numbered,
    place_name,
    read_codes,
    write_codes,
    write_images,
)
from endodav.data.poses import pinhole, pose_matrix
from endodav.data.sequence import Flag, FrameRef, Sequence
from endodav.errors import InputError
from endodav.types import DepthMap, Units

FPS = 15.0
UNIT = 1.0  # a code of the depth pictures, in the unit of poses_bounds.npy
MASK_FOLDERS = ("gt_masks", "masks")
# LLFF's camera axes are (down, right, backwards); columns of ours in terms of theirs.
OPENCV_FROM_LLFF = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])


def _locate(root: Path) -> list[Path]:
    return find_places(root, "images", "poses_bounds.npy")


def _read(root: Path, place: Path) -> Sequence:
    path = place / "poses_bounds.npy"
    images = images_in(place / "images")
    with explained(path, "LLFF poses and bounds (17 numbers a frame)"):
        table = np.load(path, allow_pickle=False).astype(np.float64)
        cameras = table[:, :15].reshape(-1, 3, 5)
    if len(cameras) != len(images):
        raise InputError(f"{path} has {len(cameras)} poses, but there are {len(images)} images.")
    depths = numbered(place / "depth")
    masks = next((found for name in MASK_FOLDERS if (found := numbered(place / name))), {})

    def read_depth(ref: FrameRef) -> DepthMap:
        assert ref.depth is not None
        depth = read_codes(ref.depth).astype(np.float32) * np.float32(UNIT)
        tools = masks.get(number_of(ref.image))
        return (
            depth if tools is None else np.asarray(np.where(_is_tool(tools), 0, depth), np.float32)
        )

    height, width, focal = cameras[0, :, 4]
    refs = tuple(
        FrameRef(
            image,
            depths.get(number),
            at_rate(index, FPS),
            pose_matrix(camera[:, :3] @ OPENCV_FROM_LLFF, camera[:, 3]),
        )
        for index, ((number, image), camera) in enumerate(zip(images.items(), cameras, strict=True))
    )
    return Sequence(
        dataset=DATASET.name,
        name=place_name(root, place),
        refs=refs,
        read_depth=read_depth,
        intrinsics=pinhole(focal, focal, width / 2, height / 2),
        units=Units.UP_TO_SCALE,
        flags=frozenset({Flag.ESTIMATED}),
    )


def _is_tool(path: Path) -> Bool[np.ndarray, "height width"]:
    """Where the mask shows an instrument, behind which no depth is known."""
    with explained(path, "a mask"), Image.open(path) as image:
        return np.asarray(np.asarray(image.convert("L")) > 127)


def _write(clip: Clip, root: Path, number: int) -> None:
    folder = root / f"rendered_{number:03d}"
    write_images(folder / "images", "frame-{:06d}.color.png", clip.images)
    write_codes(folder / "depth", "frame-{:06d}.depth.png", clip.depth, UNIT)
    frames, height, width = clip.depth.shape
    poses = clip.T_world_from_camera[:, :3]
    size = np.broadcast_to((height, width, clip.intrinsics[0, 0]), (frames, 3))
    rotation = poses[:, :, :3] @ OPENCV_FROM_LLFF.T
    cameras = np.concatenate([rotation, poses[:, :, 3:], size[:, :, None]], axis=2)
    bounds = np.stack([_nearest(clip), clip.depth.max(axis=(1, 2))], axis=1)
    np.save(folder / "poses_bounds.npy", np.hstack([cameras.reshape(frames, 15), bounds]))


def _nearest(clip: Clip) -> Float[np.ndarray, " time"]:
    return np.asarray(np.where(clip.depth > 0, clip.depth, np.inf).min(axis=(1, 2)))


DATASET = Dataset(
    name="endonerf",
    title="EndoNeRF",
    layout="folders with images/, depth/, masks/ and poses_bounds.npy",
    locate=_locate,
    read=_read,
    range=Range.ANY,
    write=_write,
    step_mm=UNIT,
)
