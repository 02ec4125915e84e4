"""Predictions on disk, ours or anyone's, read one frame at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.lib import format as npy

from endodav.data.files import DAMAGED, explained, read_codes, read_float_image
from endodav.errors import InputError
from endodav.types import Kind
from endodav.video.images import natural_key
from endodav.video.sinks import FORMATS

Map = Float[np.ndarray, "height width"]
READERS: Mapping[str, Callable[[Path], Any]] = {
    ".npy": read_float_image,
    ".exr": read_float_image,
    ".png": lambda path: read_codes(path).astype(np.float32),
}
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Prediction:
    """Depth maps of one video.

    Attributes:
        path: file or folder.
        kind: what the values are.
        meta: what the file says of itself; empty for what others wrote.
        maps: reads them from the first.
        count: how many, None where only reading tells.
    """

    path: Path
    kind: Kind
    meta: Mapping[str, Any]
    maps: Callable[[], Iterator[Map]]
    count: int | None = None


def open_prediction(path: Path, kind: Kind | None = None) -> Prediction:
    """A prediction in NPZ, or a folder of NPY, 16-bit PNG or EXR, one file a frame.

    Args:
        path: a result of `endodav depth`, or arrays that somebody else saved: an NPZ with one
            array [time, height, width], or a folder whose files sort into frames.
        kind: what the values are, needed for files that do not say it themselves.

    Raises:
        InputError: there is nothing there that can be read, or its kind is not known.
    """
    if not path.exists():
        raise InputError(f"There is no prediction {path}; give an NPZ or a folder of frames.")
    if (own := _own(path)) is not None:
        return own
    if kind is None:
        raise InputError(
            f"{path} does not say what its values are; say --kind depth or --kind inverse_depth."
        )
    if path.is_dir():
        files = _frame_files(path)
        return Prediction(path, kind, {}, partial(_read_files, files), len(files))
    if path.suffix == ".npz":
        name, count = _array_of(path)
        return Prediction(path, kind, {}, partial(_read_member, path, name), count)
    raise InputError(f"{path} is no prediction; give an NPZ or a folder of NPY, PNG or EXR files.")


def _own(path: Path) -> Prediction | None:
    """The prediction if it describes itself; the folder of a run stands for the first format."""
    for one in FORMATS.values():
        for place in (path, path / one.filename):
            if one.read_depth is None or not place.exists() or place.suffix not in ("", one.suffix):
                continue
            try:
                meta = one.read_meta(place)
                if meta.get("format") != one.name:
                    continue
                kind = Kind(meta["kind"])
            except (*DAMAGED, zipfile.BadZipFile):
                continue
            return Prediction(
                place, kind, meta, partial(one.read_depth, place), meta.get("frame_count")
            )
    return None


def _frame_files(folder: Path) -> list[Path]:
    for suffix in READERS:
        if files := sorted(folder.glob(f"*{suffix}"), key=natural_key):
            return files
    raise InputError(f"{folder} holds no {', '.join(READERS)} files; give a folder of frames.")


def _read_files(files: list[Path]) -> Iterator[Map]:
    for path in files:
        with explained(path, "a depth map"):
            values = np.asarray(READERS[path.suffix](path), np.float32).squeeze()
            if values.ndim != 2:
                raise ValueError(f"its shape is {list(values.shape)}")
        yield values


def _array_of(path: Path) -> tuple[str, int]:
    """Name and length of the one array of an NPZ that is a clip."""
    found = []
    with explained(path, "an NPZ"):
        try:
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    with archive.open(name) as member:
                        shape, dtype = _header(member)
                    if len(shape) == 3 and dtype.kind in "fu":
                        found.append((name, shape[0]))
        except zipfile.BadZipFile as error:
            raise ValueError(str(error)) from error
    if len(found) != 1:
        raise InputError(
            f"{path} holds {len(found)} arrays of shape [time, height, width]; it should hold one."
        )
    return found[0]


def _read_member(path: Path, name: str) -> Iterator[Map]:
    with zipfile.ZipFile(path) as archive, archive.open(name) as member:
        (count, height, width), dtype = _header(member)
        for _ in range(count):
            data = member.read(height * width * dtype.itemsize)
            yield np.frombuffer(data, dtype).reshape(height, width).astype(np.float32)


def _header(member: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy.read_magic(member)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(member)
    if fortran:
        raise ValueError("it is stored in Fortran order")
    return shape, dtype
