"""COLMAP's cameras, images and points3D, from text or binary files, as COLMAP documents them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float64, Int64

from endodav.data.files import explained
from endodav.data.poses import from_quaternion, pinhole, pose_matrix
from endodav.data.sequence import Distortion, Intrinsics, LensModel, Pose
from endodav.errors import InputError

PIXEL_CENTRE = 0.5  # COLMAP has the corner of the first pixel at 0, we have its centre there
Item = TypeVar("Item")

# Numbers of the models in binary files, and of their parameters fx, fy, cx, cy, then OpenCV's k.
MODELS = {
    "SIMPLE_PINHOLE": (0, (0, 0, 1, 2)),
    "PINHOLE": (1, (0, 1, 2, 3)),
    "SIMPLE_RADIAL": (2, (0, 0, 1, 2, 3)),
    "RADIAL": (3, (0, 0, 1, 2, 3, 4)),
    "OPENCV": (4, (0, 1, 2, 3, 4, 5, 6, 7)),
}
_NAMES = {number: name for name, (number, _) in MODELS.items()}


class Camera(NamedTuple):
    """A camera; integers are pixel centres."""

    height: int
    width: int
    intrinsics: Intrinsics
    distortion: Distortion | None


class Image(NamedTuple):
    """A registered image and which points it observes at which pixels."""

    name: str
    camera: int
    T_camera_from_world: Pose
    pixels: Float64[np.ndarray, "observations 2"]
    points: Int64[np.ndarray, " observations"]


class Model(NamedTuple):
    """A reconstruction; points by their number."""

    cameras: dict[int, Camera]
    images: list[Image]
    points: dict[int, Float64[np.ndarray, " 3"]]


def read_model(folder: Path) -> Model:
    """Read a model that is in `folder` as .bin or .txt.

    Raises:
        InputError: a file is missing, cut off, or uses a camera model that is not known.
    """
    if (folder / "cameras.bin").exists():
        model = Model(
            dict(_parse(folder / "cameras.bin", _binary_cameras)),
            _parse(folder / "images.bin", _binary_images),
            dict(_parse(folder / "points3D.bin", _binary_points)),
        )
    else:
        model = Model(
            dict(_parse(folder / "cameras.txt", _text_cameras)),
            _parse(folder / "images.txt", _text_images),
            dict(_parse(folder / "points3D.txt", _text_points)),
        )
    if not model.images:
        raise InputError(f"{folder} holds no registered image.")
    return model


def _parse(path: Path, reader: Callable[[bytes], Iterator[Item]]) -> list[Item]:
    with explained(path, f"COLMAP's {path.stem}"):
        try:
            return list(reader(path.read_bytes()))
        except struct.error as error:
            raise ValueError("it is cut off") from error


def _camera(model: str, width: int, height: int, parameters: list[float]) -> Camera:
    if model not in MODELS:
        raise ValueError(f"the camera model {model} is none of {', '.join(MODELS)}")
    fx, fy, cx, cy, *bend = (parameters[place] for place in MODELS[model][1])
    intrinsics = pinhole(fx, fy, cx - PIXEL_CENTRE, cy - PIXEL_CENTRE)
    padded = (*bend, *[0.0] * (4 - len(bend)))
    return Camera(height, width, intrinsics, Distortion(LensModel.OPENCV, padded) if bend else None)


def _image(
    quaternion_wxyz: list[float],
    translation: list[float],
    camera: int,
    name: str,
    observations: Float64[np.ndarray, "observations 3"],
) -> Image:
    rotation = from_quaternion(np.roll(quaternion_wxyz, -1))
    seen = observations[observations[:, 2] >= 0]  # -1 is a feature without a point
    T = pose_matrix(rotation, np.array(translation))
    return Image(name, camera, T, seen[:, :2] - PIXEL_CENTRE, seen[:, 2].astype(np.int64))


def _rows(content: bytes) -> Iterator[list[str]]:
    for line in content.decode().splitlines():
        if not line.startswith("#"):
            yield line.split()


def _text_cameras(content: bytes) -> Iterator[tuple[int, Camera]]:
    for row in filter(None, _rows(content)):
        number, model, width, height, *parameters = row
        yield int(number), _camera(model, int(width), int(height), list(map(float, parameters)))


def _text_images(content: bytes) -> Iterator[Image]:
    rows = _rows(content)
    for head in rows:
        if head:  # each image is two lines, and the second may be empty
            pose = list(map(float, head[1:8]))
            observations = np.array(next(rows, []), np.float64).reshape(-1, 3)
            yield _image(pose[:4], pose[4:], int(head[8]), " ".join(head[9:]), observations)


def _text_points(content: bytes) -> Iterator[tuple[int, Float64[np.ndarray, " 3"]]]:
    for row in filter(None, _rows(content)):
        yield int(row[0]), np.array(row[1:4], np.float64)


class _Cursor:
    """Reads little-endian fields one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def take(self, layout: str) -> tuple[float, ...]:
        values = struct.unpack_from(f"<{layout}", self._content, self._at)
        self._at += struct.calcsize(f"<{layout}")
        return values

    def text(self) -> str:
        end = self._content.index(b"\0", self._at)
        found, self._at = self._content[self._at : end].decode(), end + 1
        return found

    def count(self) -> int:
        return int(self.take("Q")[0])


def _binary_cameras(content: bytes) -> Iterator[tuple[int, Camera]]:
    cursor = _Cursor(content)
    for _ in range(cursor.count()):
        number, model, width, height = map(int, cursor.take("iiQQ"))
        name = _NAMES.get(model, f"number {model}")
        size = max(MODELS[name][1]) + 1 if name in MODELS else 0
        yield number, _camera(name, width, height, list(cursor.take(f"{size}d")))


def _binary_images(content: bytes) -> Iterator[Image]:
    cursor = _Cursor(content)
    for _ in range(cursor.count()):
        _, *pose, camera = cursor.take("i7di")
        name = cursor.text()
        fields = [cursor.take("ddq") for _ in range(cursor.count())]
        observations = np.array(fields, np.float64).reshape(-1, 3)
        yield _image(pose[:4], pose[4:], int(camera), name, observations)


def _binary_points(content: bytes) -> Iterator[tuple[int, Float64[np.ndarray, " 3"]]]:
    cursor = _Cursor(content)
    for _ in range(cursor.count()):
        number, *position = cursor.take("Q3d")
        cursor.take("3Bd")  # colour and reprojection error
        cursor.take(f"{2 * cursor.count()}i")  # the track, which the images have too
        yield int(number), np.array(position)
