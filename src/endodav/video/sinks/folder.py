"""What the formats that are a folder of images share: names, and the description of the whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

META_FILE = "meta.json"


def frame_path(folder: Path, number: int, suffix: str) -> Path:
    """Path of a frame, numbered from 0: `frame_000000.png`."""
    return folder / f"frame_{number:06d}{suffix}"


def frame_paths(path: Path, suffix: str) -> Iterator[Path]:
    """The frames of a folder in order, or the one file itself."""
    if path.is_dir():
        yield from sorted(path.glob(f"frame_*{suffix}"), key=lambda frame: (len(frame.name), frame))
    else:
        yield path


def read_folder_meta(folder: Path) -> dict[str, Any]:
    """The description of the whole folder."""
    meta: dict[str, Any] = json.loads((folder / META_FILE).read_text(encoding="utf-8"))
    return meta


def write_folder_meta(folder: Path, meta: str) -> None:
    """Store the description of the whole folder."""
    (folder / META_FILE).write_text(meta + "\n", encoding="utf-8")
