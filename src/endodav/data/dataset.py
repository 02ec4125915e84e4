"""What a dataset is to the rest of the house: how to find it, read it, and write its layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from endodav.data.sequence import Sequence
from endodav.errors import InputError


class Range(Enum):
    """Between which medians, in millimetres, the depth of a frame is believed."""

    ENDOSCOPE = (2.0, 400.0)
    ROOM = (200.0, 30_000.0)
    STREET = (1_000.0, 300_000.0)
    ANY = (0.0, float("inf"))


@dataclass(frozen=True)
class Clip:
    """Frames with ground truth in memory, to be written in the layout of a dataset.

    Attributes:
        images: sRGB, 8 bits.
        depth: Z-depth in millimetres, 0 where unknown.
        T_world_from_camera: camera (x right, y down, z forward) to world, in millimetres.
        intrinsics: pinhole matrix in pixels; integers are pixel centres.
        fps: frames a second.
    """

    images: UInt8[np.ndarray, "time height width 3"]
    depth: Float[np.ndarray, "time height width"]
    T_world_from_camera: Float[np.ndarray, "time 4 4"]
    intrinsics: Float[np.ndarray, "3 3"]
    fps: float = 25.0


Writer = Callable[[Clip, Path, int], None]


@dataclass(frozen=True)
class Dataset:
    """One row of the registry.

    Attributes:
        name: how commands call it.
        title: one line for people.
        layout: what a sequence looks like on disk; errors show it.
        locate: root to the places (files or folders) of its sequences, in order.
        read: root and place to a sequence.
        range: where its depth is expected.
        write: writes a clip as the sequence of a given number below a root; None where a clip
            from a single camera cannot fill the layout.
        step_mm: a depth step of the written files at most, in millimetres; 0 where they are exact.
        has_poses: whether written clips keep their poses.
    """

    name: str
    title: str
    layout: str
    locate: Callable[[Path], list[Path]]
    read: Callable[[Path, Path], Sequence]
    range: Range
    write: Writer | None = None
    step_mm: float = 0.0
    has_poses: bool = True

    def places(self, root: Path) -> list[Path]:
        """Where the sequences below `root` lie.

        Raises:
            InputError: `root` is no folder, or holds none.
        """
        if not root.is_dir():
            raise InputError(f"There is no folder {root}; give the one that holds {self.title}.")
        if found := self.locate(root):
            return found
        raise InputError(f"{root} holds no sequence of {self.title}; looked for {self.layout}.")

    def sequences(self, root: Path) -> Iterator[Sequence]:
        """The sequences below `root`, each opened when it is asked for.

        Raises:
            InputError: there are none, or one lacks a file that it cannot be opened without.
        """
        return (self.read(root, place) for place in self.places(root))
