"""NYU Depth V2's labelled set as published: one MATLAB file, which is HDF5, and its split.

MATLAB counts columns first, so that the file's arrays are [picture, channel, column, row].
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endodav.data.files import explained
from endodav.data.mat5 import read_mat5
from endodav.data.poses import MM_PER_METRE
from endodav.data.sequence import FrameRef
from endodav.errors import InputError
from endodav.types import DepthMap, RGBImage

FILE, SPLITS = "nyu_depth_v2_labeled.mat", "splits.mat"
PARTS = {"train": "trainNdxs", "test": "testNdxs"}  # 795 and 654 pictures
ALL = "labelled"
IMAGES, DEPTHS = "images", "depths"
INSTALL = "pip install 'endodav[hdf5]'"


def parts(folder: Path) -> list[str]:
    """Names of the sequences in a folder: the parts of the split where that is there."""
    if not (folder / FILE).is_file():
        return []
    return list(PARTS) if (folder / SPLITS).is_file() else [ALL]


def refs(folder: Path, part: str, times: Any) -> tuple[FrameRef, ...]:
    """Pictures of a part, with their place in the file counted from 0.

    Args:
        folder: of the files.
        part: one of `parts`.
        times: from the position in the part to seconds.

    Raises:
        InputError: a file is missing or damaged, or the split does not fit.
    """
    path = folder / FILE
    with _opened(path) as file:
        count = len(file[IMAGES])
        if file[DEPTHS].shape != (count, *file[IMAGES].shape[2:]):
            raise ValueError(f"{count} pictures have depths of shape {file[DEPTHS].shape}")
    numbers = range(count) if part == ALL else _numbers(folder / SPLITS, part, count)
    return tuple(
        FrameRef(path, path, times(index), number=number) for index, number in enumerate(numbers)
    )


def read_image(ref: FrameRef) -> RGBImage:
    """Colours of a picture."""
    return np.ascontiguousarray(_read(ref, IMAGES).transpose(2, 1, 0), np.uint8)


def read_depth(ref: FrameRef) -> DepthMap:
    """Depth of a picture in mm; holes of the sensor have been filled by the authors."""
    return np.ascontiguousarray(_read(ref, DEPTHS).T, np.float32) * np.float32(MM_PER_METRE)


def _numbers(path: Path, part: str, count: int) -> list[int]:
    arrays = read_mat5(path)
    with explained(path, f"the split of {FILE}"):
        numbers = [int(number) - 1 for number in arrays[PARTS[part]].ravel()]
        if not numbers or min(numbers) < 0 or max(numbers) >= count:
            raise ValueError(f"it counts to {max(numbers, default=-1) + 1} of {count} pictures")
    return numbers


def _read(ref: FrameRef, name: str) -> NDArray[Any]:
    with _opened(ref.image) as file:
        return np.asarray(file[name][ref.number])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import h5py
    except ImportError as error:
        raise InputError(f"{path.name} is HDF5 and needs h5py: {INSTALL}.") from error
    with explained(path, "the labelled set of NYU Depth V2"), h5py.File(path, "r") as file:
        yield file
