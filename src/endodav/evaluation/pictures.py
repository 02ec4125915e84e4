"""What a report shows of a video: its worst frame, and one image column over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from endodav.evaluation.protocols import AlignedFrame

LARGEST = 320  # pixels of the longer side of a picture

Map = Float[np.ndarray, "height width"]
Image = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class Shown:
    """One frame; depths are NaN where the truth is unknown or out of range.

    Attributes:
        index: in its video.
        abs_rel: mean relative error.
        image: colours.
        depth: aligned depth in mm, everywhere.
        truth: in mm.
    """

    index: int
    abs_rel: float
    image: Image
    depth: Map
    truth: Map


@dataclass(frozen=True)
class Pictures:
    """One video.

    Attributes:
        worst: the frame with the largest Abs Rel.
        colour: the middle column of every frame, time from left to right.
        depth: the same of the aligned depth in mm.
        truth: the same of the truth, NaN where unknown.
        errors: Abs Rel by frame index.
    """

    worst: Shown
    colour: Image
    depth: Map
    truth: Map
    errors: tuple[tuple[int, float], ...]


class Gallery:
    """Collects the pictures of one video, frame by frame, in memory for one frame and columns."""

    def __init__(self) -> None:
        self._worst: Shown | None = None
        self._columns: list[tuple[Image, Map, Map]] = []
        self._errors: list[tuple[int, float]] = []

    def add(self, frame: AlignedFrame, image: UInt8[np.ndarray, "rows columns 3"]) -> None:
        """Look at the next frame."""
        step = -(-max(frame.depth.shape) // LARGEST)
        truth = np.where(frame.usable, frame.truth, np.nan).astype(np.float32)
        usable = frame.usable
        error = float(np.mean(np.abs(frame.depth[usable] / frame.truth[usable] - 1)))
        self._errors.append((frame.index, error))
        parts = [values[::step, ::step] for values in (image, frame.depth, truth)]
        if self._worst is None or error > self._worst.abs_rel:
            self._worst = Shown(frame.index, error, *(part.copy() for part in parts))
        middle = parts[0].shape[1] // 2
        colour, depth, true = (part[:, middle : middle + 1].copy() for part in parts)
        self._columns.append((colour, depth, true))

    def finish(self) -> Pictures | None:
        """The pictures; None if there was no frame."""
        if self._worst is None:
            return None
        colour, depth, truth = (
            np.concatenate(columns, axis=1) for columns in zip(*self._columns, strict=True)
        )
        return Pictures(self._worst, colour, depth, truth, tuple(self._errors))
