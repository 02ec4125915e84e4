"""Arrays of numbers in MATLAB's own binary files, level 5 (its later ones are HDF5).

A file is a header and a row of elements: type, size and bytes, to be filled up to a multiple of 8.
A matrix is an element of elements: flags, dimensions, name and values, which may be stored in a
narrower type than the array has. Small elements hold their size in the upper half of the type.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from endodav.data.files import explained

HEADER = 128  # bytes
MATRIX, COMPRESSED = 14, 15
DTYPES = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
FIRST_NUMERIC_CLASS = 6  # double; before it are cells, structures, text and sparse arrays


class Element(NamedTuple):
    """A piece of a file."""

    kind: int
    content: bytes


def read_mat5(path: Path) -> dict[str, NDArray[Any]]:
    """The full arrays of numbers in a file, by name; everything else is passed over.

    Raises:
        InputError: it is missing, damaged, or no such file.
    """
    with explained(path, "a MATLAB file of level 5"):
        data = path.read_bytes()
        if data[124:128] != b"\x00\x01IM":
            raise ValueError("its header is another")
        try:
            return dict(_arrays(data[HEADER:]))
        except (struct.error, zlib.error) as error:
            raise ValueError(f"it is cut off or damaged: {error}") from error


def _arrays(data: bytes) -> Iterator[tuple[str, NDArray[Any]]]:
    for element in _elements(data):
        if element.kind == COMPRESSED:
            yield from _arrays(zlib.decompress(element.content))
        elif element.kind == MATRIX:
            flags, dimensions, name, *values = _elements(element.content)
            if flags.content[0] >= FIRST_NUMERIC_CLASS:
                shape = np.frombuffer(dimensions.content, "<i4")
                array = np.frombuffer(values[0].content, f"<{DTYPES[values[0].kind]}")
                yield name.content.decode("ascii"), array.reshape(shape, order="F")


def _elements(data: bytes) -> Iterator[Element]:
    place = 0
    while place < len(data):
        kind, size = struct.unpack_from("<II", data, place)
        start, padded = place + 8, -(-size // 8) * 8
        if kind >> 16:  # small: four bytes at most, in the place of the size
            kind, size, start, padded = kind & 0xFFFF, kind >> 16, place + 4, 4
        if kind == COMPRESSED:
            padded = size
        content = data[start : start + size]
        if len(content) < size:
            raise struct.error(f"{size} bytes are expected and {len(content)} are there")
        yield Element(kind, content)
        place = start + padded
