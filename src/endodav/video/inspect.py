"""What a result says about itself, and its depth back, whatever its format.

This is what `endodav info FILE` prints, and how evaluation reads stored predictions.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from endodav.errors import InputError
from endodav.types import DepthMap
from endodav.video.sinks import FORMATS
from endodav.video.sinks.folder import META_FILE, read_folder_meta
from endodav.video.sinks.format import Format

BROKEN = (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, av.FFmpegError)
"""What readers raise on a file that is damaged or was written by another program."""


def read_meta(path: Path) -> dict[str, Any]:
    """The self-description of a result.

    Args:
        path: a file or folder that a sink wrote, or one image of such a folder.

    Returns:
        The fields of `DepthMeta`, and `format`, `frame_count`, `height`, `width`, `range` and
        `timestamps` (exact, see `read_timestamps`); `encoding` or `preview` where the format has
        one.

    Raises:
        InputError: it is not there, or was not written by this package.
    """
    return _read(path)[1]


def read_depth(path: Path) -> Iterator[DepthMap]:
    """The depth maps of a result in order, one at a time, as the kind and units of `read_meta` say.

    Raises:
        InputError: it is not a result of ours, or a preview, which holds no depth.
    """
    depth_format, _ = _read(path)
    if depth_format.read_depth is None:
        raise InputError(
            f"{path} is a preview without depth values: "
            "run again with --format npz, zarr, ffv1, png16 or exr."
        )
    return depth_format.read_depth(path)


def read_timestamps(meta: dict[str, Any]) -> list[Fraction]:
    """Exact presentation times in seconds, from a self-description."""
    return [Fraction(timestamp) for timestamp in meta["timestamps"]]


def describe(path: Path) -> str:
    """A self-description for people: one aligned line for each thing worth knowing."""
    meta = read_meta(path)
    timestamps = read_timestamps(meta)
    low, high = meta["range"]
    lines = {
        "file": str(path),
        "format": meta["format"],
        "values": f"{meta['kind']}, {meta['units']}, {low:.6g} to {high:.6g}",
        "frames": f"{meta['frame_count']} of {meta['width']}x{meta['height']}",
        "time": f"{float(timestamps[0]):.3f} s to {float(timestamps[-1]):.3f} s",
        "source": meta["source"],
        "model": f"{meta['model']} ({meta['origin']})",
        "licence": meta["licence"],
        "weights": f"sha256 {meta['weights_sha256']}",
        "endodav": meta["endodav_version"],
        "settings": json.dumps(meta["settings"]),
    }
    lines |= {key: json.dumps(meta[key]) for key in ("encoding", "preview") if key in meta}
    width = max(map(len, lines))
    return "\n".join(f"{key:<{width}}  {value}" for key, value in lines.items())


def _read(path: Path) -> tuple[Format, dict[str, Any]]:
    """The format of a result and its self-description."""
    if not path.exists():
        raise InputError(f"{path} does not exist: check the name.")
    not_ours = (
        f"{path} was not written by EndoDAV, or is damaged: give a result of `endodav depth`."
    )
    try:
        depth_format = _recognise(path)
        return depth_format, depth_format.read_meta(path)
    except BROKEN as error:
        raise InputError(not_ours) from error


def _recognise(path: Path) -> Format:
    """The format by suffix; folders of images have none, and say it inside.

    Raises:
        KeyError: no format of ours looks like this.
    """
    if path.is_dir() and (path / META_FILE).exists():
        return FORMATS[read_folder_meta(path)["format"]]
    return {known.suffix: known for known in FORMATS.values()}[path.suffix]
