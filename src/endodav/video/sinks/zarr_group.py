"""Zarr v3 group: the array `inverse_depth` or `depth`, one chunk a frame, and `timestamps`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from zarr.codecs import BloscCodec
from zarr.core.sync import sync

from endodav.types import DepthFrame, DepthMap
from endodav.video.sinks.format import Format, Record, Run, Writer, describe_run

ATTRIBUTE = "endodav"


@contextmanager
def _settled() -> Iterator[None]:
    """Zarr writes several files at once; when one fails, wait for the others before saying so.

    They would otherwise turn up in a folder that is being removed.
    """
    try:
        yield
    except BaseException:
        sync(_others())
        raise


async def _others() -> None:
    running = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*running, return_exceptions=True)


class ZarrWriter(Writer):
    """Appends one compressed chunk a frame."""

    @_settled()
    def __init__(self, path: Path, run: Run) -> None:
        self._run = run
        self._group = zarr.open_group(path, mode="w", zarr_format=3)
        self._array = self._group.create_array(
            str(run.meta.kind),
            shape=(0, *run.size),
            chunks=(1, *run.size),
            dtype="float32",
            dimension_names=("time", "height", "width"),
            compressors=BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),
        )

    @_settled()
    def write(self, frame: DepthFrame) -> None:
        """Append one chunk."""
        self._array.append(frame.values[None])

    @_settled()
    def finish(self, record: Record) -> None:
        """Add timestamps and the description."""
        seconds = np.array([float(timestamp) for timestamp in record.timestamps])
        self._group.create_array("timestamps", data=seconds, dimension_names=("time",))
        self._group.attrs[ATTRIBUTE] = json.loads(describe_run(FORMAT.name, self._run, record))


def read_meta(path: Path) -> dict[str, Any]:
    """The self-description of a Zarr group of ours."""
    return cast(dict[str, Any], zarr.open_group(path, mode="r").attrs[ATTRIBUTE])


def read_depth(path: Path) -> Iterator[DepthMap]:
    """Depth maps one at a time."""
    array = zarr.open_array(path / read_meta(path)["kind"], mode="r")
    for number in range(array.shape[0]):
        yield np.asarray(array[number])


FORMAT = Format(
    name="zarr",
    filename="depth.zarr",
    suffix=".zarr",
    fixed_size=True,
    coloured=False,
    writer=ZarrWriter,
    read_meta=read_meta,
    read_depth=read_depth,
)
