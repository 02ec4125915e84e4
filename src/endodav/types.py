"""The nouns of the house: frames in, depth frames out, and what sources and sinks promise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

RGBImage = UInt8[np.ndarray, "height width 3"]
DepthMap = Float32[np.ndarray, "height width"]


class Kind(StrEnum):
    """What the numbers of a depth map mean."""

    INVERSE_DEPTH = "inverse_depth"
    DEPTH = "depth"


class Units(StrEnum):
    """In what the numbers of a depth map are measured."""

    MILLIMETRES = "mm"
    UP_TO_SCALE = "up to scale"
    AFFINE_INVARIANT = "affine-invariant"


@dataclass(frozen=True)
class Frame:
    """One frame of a source.

    Attributes:
        image: sRGB, 8 bits, [height, width, 3].
        timestamp: presentation time in seconds, exactly as the source has it.
        index: position among the frames that the source delivers, from 0.
    """

    image: RGBImage
    timestamp: Fraction
    index: int


@dataclass(frozen=True)
class DepthFrame:
    """The depth of one frame; `kind` and `units` of the values are those of the run's `DepthMeta`.

    Attributes:
        values: [height, width], float32, finite.
        timestamp: presentation time in seconds of the frame it belongs to.
        index: position of that frame in its source, from 0.
        image: the source frame itself, for sinks that show both; sizes may differ from `values`.
    """

    values: DepthMap
    timestamp: Fraction
    index: int
    image: UInt8[np.ndarray, "image_height image_width 3"]


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source before its first frame.

    Attributes:
        name: file name, glob or "array"; written into outputs.
        height: rows of every frame, after rotation metadata has been applied.
        width: columns of every frame.
        fps: nominal frames a second; a display hint only, timestamps are the truth.
        frame_count: expected number of frames, None where it cannot be known.
    """

    name: str
    height: int
    width: int
    fps: Fraction
    frame_count: int | None


@dataclass(frozen=True)
class DepthMeta:
    """What an output says about itself, the same in every format.

    Attributes:
        kind: depth or inverse depth.
        units: "mm" where metric, else what freedom is left.
        model: preset name or run folder.
        weights_sha256: SHA-256 of the checkpoint file the weights came from.
        licence: SPDX-like licence of the weights.
        origin: where the weights come from.
        source: name of the input.
        settings: strategy, window, input size, precision and whatever else reproduces the run.
        endodav_version: version of this package.
    """

    kind: Kind
    units: Units
    model: str
    weights_sha256: str
    licence: str
    origin: str
    source: str
    endodav_version: str
    settings: dict[str, Any] = field(default_factory=dict)

    def with_source(self, name: str) -> DepthMeta:
        """The same description for another input."""
        return replace(self, source=name)

    def to_json(self, **extra: Any) -> str:
        """One JSON object; `extra` adds what only a sink knows (range, timestamps, encoding)."""
        return json.dumps(asdict(self) | extra)


@runtime_checkable
class Source(Protocol):
    """Frames in time order, read lazily; iterating again starts over where that is possible."""

    @property
    def info(self) -> SourceInfo:
        """Size, rate and name, known before the first frame."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames with strictly increasing index and non-decreasing timestamp."""
        ...

    def __enter__(self) -> Source:
        """Open what must be held open."""
        ...

    def __exit__(self, *exc: object) -> None:
        """Release it."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Takes depth frames in order; leaving its context without an error puts the result in place.

    A sink writes to a temporary name. Leaving the context normally completes and renames; leaving
    it by an exception removes the temporary, so a final name always holds a whole result.
    """

    def write(self, frame: DepthFrame) -> None:
        """Append one frame."""
        ...

    def __enter__(self) -> Sink:
        """Start writing under a temporary name."""
        ...

    def __exit__(self, exc_type: type[BaseException] | None, *exc: object) -> None:
        """Complete and rename, or remove."""
        ...
