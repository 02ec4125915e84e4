"""NPZ: `inverse_depth` or `depth` [T, H, W] float32, `timestamps` [T] in seconds, `meta` JSON."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from numpy.lib import format as npy

from endodav.types import DepthFrame, DepthMap, Kind
from endodav.video.sinks.format import Format, Record, Run, Writer, describe_run


class NpzWriter(Writer):
    """Streams the array to a scratch `.npy` and copies that into the archive at the end.

    Not a memory map: its dirty pages would count as memory of the process. NumPy pads the header
    so that the first axis can be corrected in place, once the number of frames is known.
    """

    def __init__(self, path: Path, run: Run) -> None:
        self._path = path
        self._run = run
        self._scratch = path.with_name(f"{path.stem}.npy")
        self._array = self._scratch.open("wb")
        self._write_header(frame_count=0)

    def write(self, frame: DepthFrame) -> None:
        """Append to the scratch array."""
        self._array.write(np.ascontiguousarray(frame.values, dtype="<f4").data)

    def finish(self, record: Record) -> None:
        """Correct the header and pack the archive."""
        self._array.seek(0)
        self._write_header(len(record.timestamps))
        self._array.close()
        with zipfile.ZipFile(self._path, "w", zipfile.ZIP_STORED) as archive:
            archive.write(self._scratch, f"{self._run.meta.kind}.npy")
            seconds = np.array([float(timestamp) for timestamp in record.timestamps])
            _write_array(archive, "timestamps", seconds)
            _write_array(archive, "meta", np.array(describe_run(FORMAT.name, self._run, record)))
        self._scratch.unlink()

    def close(self) -> None:
        """Release the scratch array."""
        self._array.close()

    def _write_header(self, frame_count: int) -> None:
        npy.write_array_header_1_0(
            self._array,
            {"descr": "<f4", "fortran_order": False, "shape": (frame_count, *self._run.size)},
        )


def read_meta(path: Path) -> dict[str, Any]:
    """The self-description of an NPZ of ours."""
    with np.load(path, allow_pickle=False) as archive:
        meta: dict[str, Any] = json.loads(str(archive["meta"]))
    return meta


def read_depth(path: Path) -> Iterator[DepthMap]:
    """Depth maps one at a time, without loading the array."""
    with zipfile.ZipFile(path) as archive:
        name = next(kind for kind in Kind if f"{kind}.npy" in archive.namelist())
        with archive.open(f"{name}.npy") as array:
            npy.read_magic(array)
            (frame_count, height, width), _, dtype = npy.read_array_header_1_0(array)
            for _ in range(frame_count):
                values = np.frombuffer(array.read(height * width * dtype.itemsize), dtype)
                yield values.reshape(height, width).copy()


def _write_array(archive: zipfile.ZipFile, name: str, array: Shaped[np.ndarray, ...]) -> None:
    with archive.open(f"{name}.npy", "w") as member:
        npy.write_array(member, array, allow_pickle=False)


FORMAT = Format(
    name="npz",
    filename="depth.npz",
    suffix=".npz",
    fixed_size=True,
    coloured=False,
    writer=NpzWriter,
    read_meta=read_meta,
    read_depth=read_depth,
)
