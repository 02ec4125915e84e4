"""MPI Sintel's training scenes with depth and cameras (Butler et al. 2012)."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from endodav.data.dataset import Clip, Dataset, Range
from endodav.data.files import (
    at_rate,
    explained,
    find_places,
    from_depth_file,
    images_in,
    numbered,
    write_images,
)
from endodav.data.poses import MM_PER_METRE, inverted, scaled
from endodav.data.sequence import FrameRef, Intrinsics, Pose, Sequence
from endodav.errors import InputError
from endodav.types import DepthMap

FPS = 24.0
TAG = 202021.25  # first number of the dataset's own binary files
RENDERING = "final"  # with motion blur and fog, the pass that benchmarks use


def _locate(root: Path) -> list[Path]:
    return [
        scene
        for folder in find_places(root, "depth", RENDERING, "camdata_left")
        for scene in sorted((folder / "depth").iterdir())
        if scene.is_dir()
    ]


def _read(_root: Path, place: Path) -> Sequence:
    training, name = place.parents[1], place.name
    depths = numbered(place, "*.dpt")
    cameras = numbered(training / "camdata_left" / name, "*.cam")
    images = images_in(training / RENDERING / name)
    if lacking := sorted(images.keys() - cameras.keys()):
        raise InputError(
            f"{training / 'camdata_left' / name} lacks the camera of frame {lacking[0]}."
        )
    refs = []
    for index, (number, image) in enumerate(images.items()):
        intrinsics, pose = _read_camera(cameras[number])
        refs.append(FrameRef(image, depths.get(number), at_rate(index, FPS), pose, intrinsics))
    return Sequence(
        dataset=DATASET.name,
        name=name,
        refs=tuple(refs),
        read_depth=from_depth_file(_read_depth),
    )


def _check_tag(content: bytes) -> None:
    if struct.unpack_from("<f", content)[0] != np.float32(TAG):
        raise ValueError("its tag is another one")


def _read_depth(path: Path) -> DepthMap:
    """Tag, width, height, then metres row by row, all little-endian."""
    with explained(path, "Sintel's depth"):
        try:
            content = path.read_bytes()
            _check_tag(content)
            width, height = struct.unpack_from("<2i", content, 4)
        except struct.error as error:
            raise ValueError("it is cut off") from error
        metres = np.frombuffer(content, "<f4", offset=12).reshape(height, width)
        return (metres * np.float32(MM_PER_METRE)).astype(np.float32)


def _read_camera(path: Path) -> tuple[Intrinsics, Pose]:
    """Tag, intrinsics [3, 3] and world to camera [3, 4] in metres, float64."""
    with explained(path, "Sintel's camera"):
        try:
            content = path.read_bytes()
            _check_tag(content)
        except struct.error as error:
            raise ValueError("it is cut off") from error
        values = np.frombuffer(content, "<f8", offset=4)
        world_to_camera = np.vstack([values[9:].reshape(3, 4), [0.0, 0.0, 0.0, 1.0]])
        return values[:9].reshape(3, 3), scaled(inverted(world_to_camera), MM_PER_METRE)


def _write(clip: Clip, root: Path, number: int) -> None:
    training, name = root / "training", f"rendered_{number}"
    write_images(training / RENDERING / name, "frame_{:04d}.png", clip.images, first=1)
    for index, (depth, T) in enumerate(zip(clip.depth, clip.T_world_from_camera, strict=True), 1):
        height, width = depth.shape
        header = struct.pack("<f2i", TAG, width, height)
        metres = (depth / MM_PER_METRE).astype("<f4").tobytes()
        _save(training / "depth" / name / f"frame_{index:04d}.dpt", header + metres)
        extrinsics = inverted(scaled(T, 1 / MM_PER_METRE))[:3]
        camera = np.concatenate([clip.intrinsics.ravel(), extrinsics.ravel()]).astype("<f8")
        content = struct.pack("<f", TAG) + camera.tobytes()
        _save(training / "camdata_left" / name / f"frame_{index:04d}.cam", content)


def _save(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


DATASET = Dataset(
    name="sintel",
    title="MPI Sintel (training scenes)",
    layout="training/ with final/SCENE/, depth/SCENE/ and camdata_left/SCENE/",
    locate=_locate,
    read=_read,
    range=Range.ANY,
    write=_write,
)
