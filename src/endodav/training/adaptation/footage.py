"""Unlabelled footage: any folder of videos and images as clips, decoded when they are wanted.

A first pass over each video finds its times, its cuts and its field of view. A clip never crosses
a cut, and never leaves its video.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from endodav.errors import InputError, PartialInputWarning
from endodav.inference.scene_cut import SceneCuts, thumbnail
from endodav.types import RGBImage
from endodav.video.images import IMAGE_SUFFIXES
from endodav.video.masks import label_path, read_labels
from endodav.video.roi import FieldOfView, detect_field_of_view
from endodav.video.source import open_source

VIDEO_SUFFIXES = frozenset(
    {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"}
)
FIELD_FRAMES = 12  # that the field of view is found from
FIELD_STRIDE = 15
STILL = 0.5  # grey levels of 255 that thumbnails change by at most where nothing moves
MARGIN = 0.015  # of the shorter side, by which the field of view is narrowed: its rim is blurred


class Span(NamedTuple):
    """Frames of one video between two cuts, `start` included, `stop` not."""

    video: int
    start: int
    stop: int


@dataclass(frozen=True)
class Video:
    """What is known of one video.

    Attributes:
        path: a file, or a folder of images.
        times: of its frames, in seconds.
        cuts: numbers of the frames that begin a new scene.
        field: where its frames show something.
        size: rows and columns.
    """

    path: Path
    times: tuple[Fraction, ...]
    cuts: tuple[int, ...]
    field: FieldOfView
    size: tuple[int, int]


def find_videos(folder: Path) -> list[Path]:
    """Video files below a folder, and folders of images; a file is itself.

    Raises:
        InputError: there is nothing of that kind.
    """
    if folder.is_file():
        return [folder]
    below = sorted(path for path in folder.rglob("*") if not path.name.startswith("."))
    files = [path for path in below if path.suffix.lower() in VIDEO_SUFFIXES]
    images = {path.parent for path in below if path.suffix.lower() in IMAGE_SUFFIXES}
    if not files and not images:
        raise InputError(f"{folder} holds no video and no folder of images; check the path.")
    return sorted([*files, *images])


def survey(path: Path, field: FieldOfView | None = None) -> Video:
    """Go through a video once, holding one frame and a few for the field of view.

    Args:
        path: a video file or a folder of images.
        field: of view, where the user knows it.

    Raises:
        InputError: it cannot be read at all.
    """
    times: list[Fraction] = []
    cuts: list[int] = []
    samples: list[RGBImage] = []
    detector = SceneCuts()
    first = previous = None
    motion = 0.0
    with open_source(path) as source:
        for frame in source:
            if detector.begins(frame.image):
                cuts.append(frame.index)
            if frame.index % FIELD_STRIDE == 0 and len(samples) < FIELD_FRAMES:
                samples.append(frame.image)
            previous, first = thumbnail(frame.image), previous
            if first is not None:
                motion = max(motion, float(np.abs(previous - first).max()))
            times.append(frame.timestamp)
        size = source.info.height, source.info.width
    if motion < STILL:
        warnings.warn(
            f"{path} does not move, so there is nothing to learn from it.",
            PartialInputWarning,
            stacklevel=2,
        )
    return Video(path, tuple(times), tuple(cuts), field or detect_field_of_view(samples), size)


class Footage:
    """Videos that can be read, and where clips of them may lie.

    Args:
        videos: what `survey` found.
        frames: of the longest clip, neighbours included.
        masks: folder of region labels, a folder a video by its name; None without.

    Raises:
        InputError: no video is long enough.
    """

    def __init__(self, videos: Sequence[Video], frames: int, masks: Path | None = None) -> None:
        self.videos = list(videos)
        self.frames = frames
        self.masks = masks
        self.spans = [
            Span(number, start, stop)
            for number, video in enumerate(self.videos)
            for start, stop in pairwise((0, *video.cuts, len(video.times)))
            if stop - start >= frames
        ]
        if not self.spans:
            raise InputError(
                f"No video has {frames} frames between two cuts; give longer ones, or train on"
                " shorter clips."
            )

    @classmethod
    def open(
        cls,
        folder: Path,
        frames: int,
        field: FieldOfView | None = None,
        masks: Path | None = None,
    ) -> Footage:
        """Survey everything below a folder; what cannot be read is left out with a warning.

        Raises:
            InputError: nothing usable is there.
        """
        videos = []
        for path in find_videos(folder):
            try:
                videos.append(survey(path, field))
            except InputError as error:
                warnings.warn(f"{error} It is left out.", PartialInputWarning, stacklevel=2)
        return cls(videos, frames, masks)

    def draw(self, rng: np.random.Generator, max_stride: int) -> RawClip:
        """A clip at a random place and a random stride of 1..`max_stride`, as far as it fits.

        Every frame is as likely to begin one, whichever video it is in.
        """
        starts = np.array([span.stop - span.start - self.frames + 1 for span in self.spans])
        span = self.spans[rng.choice(len(starts), p=starts / starts.sum())]
        longest = (span.stop - span.start - 1) // (self.frames - 1) if self.frames > 1 else 1
        stride = int(rng.integers(1, min(max_stride, longest) + 1))
        last = span.stop - (self.frames - 1) * stride
        start = int(rng.integers(span.start, last))
        return self.read(span.video, start, stride)

    def read(self, number: int, start: int, stride: int) -> RawClip:
        """Decode every `stride`-th frame from `start` on.

        Raises:
            InputError: the video has changed since it was surveyed.
        """
        video = self.videos[number]
        wanted = range(start, start + self.frames * stride, stride)
        with open_source(video.path, start=video.times[start]) as source:
            images = [
                frame.image
                for offset, frame in zip(range(wanted[-1] - start + 1), source, strict=False)
                if offset % stride == 0
            ]
        if len(images) < self.frames:
            raise InputError(f"{video.path} has fewer frames than before; survey it again.")
        folder = None if self.masks is None else self.masks / video.path.stem
        labels = None if folder is None else [read_labels(label_path(folder, k)) for k in wanted]
        return RawClip(np.stack(images), video.field.mask(*video.size), labels)


class RawClip(NamedTuple):
    """Frames as they were recorded.

    Attributes:
        images: sRGB, 8 bits, [time, height, width, 3].
        field: pixels inside the field of view.
        labels: regions of each frame; None without.
    """

    images: np.ndarray
    field: Bool[np.ndarray, "height width"]
    labels: list[np.ndarray] | None

    def resized(self, size: tuple[int, int]) -> Float[Tensor, "time 3 rows columns"]:
        """RGB in 0..1 at another size, without aliasing."""
        frames = torch.from_numpy(self.images).permute(0, 3, 1, 2).float() / 255
        return F.interpolate(frames, size, mode="bilinear", antialias=True).clamp(0, 1)

    def field_at(self, size: tuple[int, int]) -> Bool[Tensor, "1 rows columns"]:
        """Pixels of another size wholly inside the field of view, away from its rim."""
        inside = torch.from_numpy(self.field).float()[None, None]
        width = 2 * round(MARGIN * min(size)) + 1
        inside = F.interpolate(inside, size, mode="bilinear", antialias=True)
        narrowed = -F.max_pool2d(-inside, width, 1, width // 2)
        return narrowed[0] > 0.99

    def labels_at(self, size: tuple[int, int]) -> Tensor | None:
        """Regions at another size, picked and never mixed, [time, rows, columns]."""
        if self.labels is None:
            return None
        labels = torch.from_numpy(np.stack(self.labels)).float()[:, None]
        return F.interpolate(labels, size, mode="nearest-exact")[:, 0].long()
