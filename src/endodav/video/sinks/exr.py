"""OpenEXR folder: `Z` holds the data in float32, `R`, `G`, `B` a picture of it for viewers.

A file with depth alone looks black or empty in most viewers. The picture uses the run's fixed
colours and is stored scene-linear, as EXR colour is, so that viewers show the same colours as the
preview video.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
from jaxtyping import Float16

from endodav.types import DepthFrame, DepthMap
from endodav.video.colormap import LookupTable
from endodav.video.sinks import folder
from endodav.video.sinks.format import (
    Format,
    Record,
    Run,
    Writer,
    describe_colours,
    describe_frame,
    describe_run,
)

ATTRIBUTE = "endodav"
DATA_CHANNEL = "Z"


class ExrWriter(Writer):
    """One file a frame, and `meta.json` for the whole."""

    def __init__(self, path: Path, run: Run) -> None:
        self._path = path
        self._run = run
        self._count = 0
        self._table = _linear_light(run.colours.table)
        self._preview = describe_colours(run.colours)
        path.mkdir()

    def write(self, frame: DepthFrame) -> None:
        """Write the frame's own file."""
        picture = self._table[self._run.colours.positions(frame.values)]
        header = {
            "compression": OpenEXR.ZIP_COMPRESSION,
            "type": OpenEXR.scanlineimage,
            "kind": str(self._run.meta.kind),
            "units": str(self._run.meta.units),
            ATTRIBUTE: describe_frame(FORMAT.name, self._run, frame, preview=self._preview),
        }
        channels = {
            name: np.ascontiguousarray(picture[..., channel]) for channel, name in enumerate("RGB")
        }
        channels[DATA_CHANNEL] = np.ascontiguousarray(frame.values)
        _write_file(folder.frame_path(self._path, self._count, FORMAT.suffix), header, channels)
        self._count += 1

    def finish(self, record: Record) -> None:
        """Describe the folder."""
        preview = self._preview | {"share_outside": record.share_outside}
        meta = describe_run(FORMAT.name, self._run, record, preview=preview)
        folder.write_folder_meta(self._path, meta)


def read_meta(path: Path) -> dict[str, Any]:
    """The self-description of the folder, or of one file of it."""
    if path.is_dir():
        return folder.read_folder_meta(path)
    try:
        header = OpenEXR.File(str(path), header_only=True).header()
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    meta: dict[str, Any] = json.loads(header[ATTRIBUTE])
    return meta


def read_depth(path: Path) -> Iterator[DepthMap]:
    """Depth maps of a folder, or of one file, in order."""
    for frame in folder.frame_paths(path, FORMAT.suffix):
        yield _read_data(frame)


def _read_data(path: Path) -> DepthMap:
    values: DepthMap = (
        OpenEXR.File(str(path), separate_channels=True).channels()[DATA_CHANNEL].pixels
    )
    return values


def _write_file(path: Path, header: dict[str, Any], channels: dict[str, Any]) -> None:
    """Write one file and read it back, since OpenEXR does not report a failure to flush its end.

    Raises:
        OSError: as the system reported it, where OpenEXR says so.
    """
    try:
        OpenEXR.File(header, channels).write(str(path))
        _read_data(path)
    except (RuntimeError, ValueError) as error:
        numbers = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES)
        number = next((n for n in numbers if os.strerror(n) in str(error)), errno.EIO)
        raise OSError(number, os.strerror(number), str(path)) from error


def _linear_light(table: LookupTable) -> Float16[np.ndarray, "256 3"]:
    """Linear light of sRGB bytes, IEC 61966-2-1."""
    srgb = table / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float16)


FORMAT = Format(
    name="exr",
    filename="depth_exr",
    suffix=".exr",
    fixed_size=False,
    coloured=True,
    writer=ExrWriter,
    read_meta=read_meta,
    read_depth=read_depth,
)
