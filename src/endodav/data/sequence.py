"""The common form of every dataset: sequences of frames with ground truth, read one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64

from endodav.errors import InputError
from endodav.types import DepthMap, Frame, RGBImage, Units
from endodav.video.images import read_image

Pose = Float64[np.ndarray, "4 4"]
Intrinsics = Float64[np.ndarray, "3 3"]


class Flag(StrEnum):
    """What a user of the ground truth has to know about it."""

    INTERPOLATED = "ground truth interpolated from kinematics"
    MISCALIBRATED = "miscalibrated"
    ESTIMATED = "ground truth estimated by stereo matching"
    FISHEYE = "fisheye: the pinhole intrinsics hold near the centre only"
    POSES_OVERRIDDEN = "poses replaced by a re-estimate"
    STILLS = "frames are not consecutive"
    SPARSE = "depth only at points"


class LensModel(StrEnum):
    """What the coefficients of a `Distortion` mean."""

    OPENCV = "opencv: k1 k2 p1 p2 k3 ..."
    RADIAL_RAYS = "ray of the pixel at (x, y) = K^-1 (u, v) is (x s, y s, 1), s = 1 + k (x^2 + y^2)"
    OMNIDIRECTIONAL = "Scaramuzza's omnidirectional camera: a0 a2 a3 a4 c d e"


@dataclass(frozen=True)
class Distortion:
    """How a lens departs from the pinhole."""

    model: LensModel
    coefficients: tuple[float, ...]


@dataclass(frozen=True)
class FrameRef:
    """A frame that has not been read: where it lies and what is known of it.

    Attributes:
        image: an image file, or the video that holds the frame.
        depth: file of the ground truth, None where this frame has none.
        timestamp: seconds from the start of the sequence.
        T_world_from_camera: pose, translation in the sequence's unit; None where unknown.
        intrinsics: of this frame, where they differ from the sequence's.
        flags: what holds for this frame in addition to the sequence's flags.
        number: place in the files, where one holds many frames.
    """

    image: Path
    depth: Path | None
    timestamp: Fraction
    T_world_from_camera: Pose | None = None
    intrinsics: Intrinsics | None = None
    flags: frozenset[Flag] = frozenset()
    number: int | None = None


@dataclass(frozen=True)
class Sample:
    """A frame that has been read.

    Attributes:
        index: position in its sequence.
        image: sRGB, 8 bits.
        depth: Z-depth in `Sequence.units`, 0 where `valid` is false; None where the frame has none.
        valid: where the depth is known; None where the frame has none.
        T_world_from_camera: camera (x right, y down, z forward) to world, in `Sequence.units`.
        intrinsics: pinhole matrix in pixels, integers are pixel centres; None where unknown.
        distortion: None for a pinhole, or where unknown.
        timestamp: seconds.
        flags: of the sequence and of the frame.
    """

    index: int
    image: RGBImage
    depth: DepthMap | None
    valid: Bool[np.ndarray, "height width"] | None
    T_world_from_camera: Pose | None
    intrinsics: Intrinsics | None
    distortion: Distortion | None
    timestamp: Fraction
    flags: frozenset[Flag]


@runtime_checkable
class Video(Protocol):
    """Frames of a video file, decoded from its beginning each time."""

    def frames(self) -> Iterator[Frame]:
        """All frames in order."""
        ...


def read_image_of(ref: FrameRef) -> RGBImage:
    """The frame's image file as it is."""
    return read_image(ref.image)


@dataclass(frozen=True)
class Sequence:
    """One clip of a dataset: paths and poses; pictures are read when asked for, one by one.

    Attributes:
        dataset: name in the registry.
        name: unique within the dataset.
        refs: the frames in order.
        read_depth: ground truth of a frame in `units`; what is 0, negative or not finite is
            unknown. None where the dataset has no depth.
        read_image: picture of a frame.
        video: where pictures come from instead, frame k of the video being frame k here.
        intrinsics: pinhole matrix in pixels; None where unknown, or where each frame has its own.
        distortion: of the lens.
        units: millimetres (converted by the reader), or up to scale.
        flags: what holds for all frames.
    """

    dataset: str
    name: str
    refs: tuple[FrameRef, ...]
    read_depth: Callable[[FrameRef], DepthMap] | None
    read_image: Callable[[FrameRef], RGBImage] = read_image_of
    video: Video | None = None
    intrinsics: Intrinsics | None = None
    distortion: Distortion | None = None
    units: Units = Units.MILLIMETRES
    flags: frozenset[Flag] = frozenset()

    def __len__(self) -> int:
        return len(self.refs)

    def __iter__(self) -> Iterator[Sample]:
        return self.samples()

    def samples(self, start: int = 0, stop: int | None = None) -> Iterator[Sample]:
        """Frames start <= index < stop, read one at a time; a video is decoded from its beginning.

        Raises:
            InputError: a file of a frame is missing or damaged, or image and depth differ in size.
        """
        refs = list(enumerate(self.refs[start:stop], start))
        if self.video is None:
            for index, ref in refs:
                yield self._sample(index, ref, self.read_image(ref), ref.timestamp)
            return
        frames = islice(self.video.frames(), start, start + len(refs))
        delivered = 0
        for (index, ref), frame in zip(refs, frames, strict=False):
            yield self._sample(index, ref, frame.image, frame.timestamp)
            delivered += 1
        if delivered < len(refs):
            raise InputError(
                f"{self.refs[0].image} ends after {start + delivered} frames, but {self.name} has "
                f"{len(self)} frames of ground truth; one of them is incomplete."
            )

    def _sample(self, index: int, ref: FrameRef, image: RGBImage, time: Fraction) -> Sample:
        depth, valid = None, None
        if self.read_depth is not None and ref.depth is not None:
            read = self.read_depth(ref)
            if read.shape != image.shape[:2]:
                raise InputError(
                    f"{ref.depth} is {read.shape[1]}x{read.shape[0]} but its image "
                    f"{ref.image.name} is {image.shape[1]}x{image.shape[0]}."
                )
            valid = np.isfinite(read) & (read > 0)
            depth = np.where(valid, read, np.float32(0))
        return Sample(
            index=index,
            image=image,
            depth=depth,
            valid=valid,
            T_world_from_camera=ref.T_world_from_camera,
            intrinsics=self.intrinsics if ref.intrinsics is None else ref.intrinsics,
            distortion=self.distortion,
            timestamp=time,
            flags=self.flags | ref.flags,
        )
