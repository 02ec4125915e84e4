"""16-bit PNG folder; each file carries its own full scale, see `endodav.video.quantise`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from endodav.types import DepthFrame, DepthMap
from endodav.video import quantise
from endodav.video.sinks import folder
from endodav.video.sinks.format import Format, Record, Run, Writer, describe_frame, describe_run

COMPRESSION = 3  # zlib level; higher ones cost seconds a hundred frames and save a few per cent
TEXT_KEY = "endodav"


class Png16Writer(Writer):
    """One file a frame, and `meta.json` for the whole."""

    def __init__(self, path: Path, run: Run) -> None:
        self._path = path
        self._run = run
        self._count = 0
        self._quantiser = quantise.Quantiser()
        path.mkdir()

    def write(self, frame: DepthFrame) -> None:
        """Write the frame's own file."""
        codes = self._quantiser.encode(frame.values)
        full_scale = self._quantiser.full_scale
        encoding = {"scheme": quantise.SCHEME, "full_scale": [(0, full_scale)]}
        text = PngInfo()
        text.add_text("full_scale", repr(full_scale))
        text.add_text(TEXT_KEY, describe_frame(FORMAT.name, self._run, frame, encoding=encoding))
        Image.fromarray(codes).save(
            folder.frame_path(self._path, self._count, FORMAT.suffix),
            pnginfo=text,
            compress_level=COMPRESSION,
        )
        self._count += 1

    def finish(self, record: Record) -> None:
        """Describe the folder."""
        encoding = {"scheme": quantise.SCHEME, "full_scale": self._quantiser.segments}
        meta = describe_run(FORMAT.name, self._run, record, encoding=encoding)
        folder.write_folder_meta(self._path, meta)


def read_meta(path: Path) -> dict[str, Any]:
    """The self-description of the folder, or of one file of it."""
    if path.is_dir():
        return folder.read_folder_meta(path)
    with Image.open(path) as image:
        meta: dict[str, Any] = json.loads(image.info[TEXT_KEY])
    return meta


def read_depth(path: Path) -> Iterator[DepthMap]:
    """Depth maps of a folder, or of one file, in order."""
    for frame in folder.frame_paths(path, FORMAT.suffix):
        with Image.open(frame) as image:
            full_scale = float(image.info["full_scale"])
            codes = np.asarray(image, np.uint16)
        yield quantise.decode(codes, full_scale)


FORMAT = Format(
    name="png16",
    filename="depth_png16",
    suffix=".png",
    fixed_size=False,
    coloured=False,
    writer=Png16Writer,
    read_meta=read_meta,
    read_depth=read_depth,
)
