"""What every output format promises: a writer, a self-description and a way to read both back.

Writers know nothing of temporary names, clean-up or error messages; `endodav.video.sink` does
that once for all. They write to the path they are given and may put scratch files beside it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from endodav.types import DepthFrame, DepthMap, DepthMeta, SourceInfo
from endodav.video.colormap import ColourScale

Layout = Literal["side-by-side", "depth"]


@dataclass(frozen=True, eq=False)
class Run:
    """What is known when the first frame is written.

    Attributes:
        meta: what the values are and where they come from.
        info: the source.
        size: rows and columns of the first depth map.
        layout: what the preview video shows.
        colours: the colour scale of everything that shows a picture.
    """

    meta: DepthMeta
    info: SourceInfo
    size: tuple[int, int]
    layout: Layout
    colours: ColourScale


@dataclass
class Record:
    """What is known only after the last frame; grows by one timestamp a frame and nothing else."""

    timestamps: list[Fraction] = field(default_factory=list)
    low: float = math.inf
    high: float = -math.inf
    pixels: int = 0
    pixels_outside: int = 0

    def add(self, frame: DepthFrame, colours: ColourScale | None) -> None:
        """Account for one frame; with `colours`, also for what lies beyond the preview's range."""
        self.timestamps.append(frame.timestamp)
        self.low = min(self.low, float(frame.values.min()))
        self.high = max(self.high, float(frame.values.max()))
        if colours is not None:
            self.pixels += frame.values.size
            self.pixels_outside += colours.count_outside(frame.values)

    @property
    def share_outside(self) -> float:
        """Share of pixels beyond the range of the preview's colours."""
        return self.pixels_outside / max(self.pixels, 1)


class Writer(ABC):
    """Writes one format. Made at the first frame, so nothing in it waits to be known."""

    @abstractmethod
    def __init__(self, path: Path, run: Run) -> None: ...

    @abstractmethod
    def write(self, frame: DepthFrame) -> None:
        """Append one frame."""

    @abstractmethod
    def finish(self, record: Record) -> None:
        """Complete the file or folder at the writer's path, self-description included."""

    def close(self) -> None:  # noqa: B027 - most writers hold nothing open
        """Release what is open, after `finish` or instead of it."""


@dataclass(frozen=True)
class Format:
    """One output format, as data.

    Attributes:
        name: what `--format` takes.
        filename: file or folder in the output folder.
        suffix: of the file, or of the files in the folder.
        fixed_size: every frame must have the size of the first.
        coloured: shows colours, so that writing waits until their range is known.
        writer: makes the writer of one run.
        read_meta: self-description of a file or folder; KeyError or ValueError without one.
        read_depth: depth maps in order, one at a time; None for previews, which hold no depth.
    """

    name: str
    filename: str
    suffix: str
    fixed_size: bool
    coloured: bool
    writer: Callable[[Path, Run], Writer]
    read_meta: Callable[[Path], dict[str, Any]]
    read_depth: Callable[[Path], Iterator[DepthMap]] | None


def describe_run(name: str, run: Run, record: Record, **extra: Any) -> str:
    """The self-description of a whole result, as JSON.

    Timestamps are exact: seconds as decimal-free fractions such as "1001/30000".
    """
    return run.meta.to_json(
        format=name,
        frame_count=len(record.timestamps),
        height=run.size[0],
        width=run.size[1],
        range=[record.low, record.high],
        timestamps=[str(timestamp) for timestamp in record.timestamps],
        **extra,
    )


def describe_frame(name: str, run: Run, frame: DepthFrame, **extra: Any) -> str:
    """The self-description of one file of a folder, as JSON, with the same keys as the whole."""
    height, width = frame.values.shape
    return run.meta.to_json(
        format=name,
        frame_count=1,
        height=height,
        width=width,
        range=[float(frame.values.min()), float(frame.values.max())],
        timestamps=[str(frame.timestamp)],
        **extra,
    )


def describe_colours(colours: ColourScale) -> dict[str, Any]:
    """The part of a self-description that says what the colours mean."""
    described = asdict(colours)
    del described["table"], described["kind"]
    return described | {"quantity": "inverse depth"}
