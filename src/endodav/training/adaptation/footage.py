"""Unlabelled footage: surveyed videos as clips, decoded when they are wanted.

A clip never crosses a cut, and never leaves its video. The last part of each video can be held out:
nothing is ever drawn from it for training.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from endodav.errors import InputError, PartialInputWarning
from endodav.training.adaptation.survey import Video, find_videos, survey
from endodav.video.masks import label_path, read_labels
from endodav.video.roi import FieldOfView
from endodav.video.source import open_source

MARGIN = 0.015  # of the shorter side, by which the field of view is narrowed: its rim is blurred
LEAST_CLIPS = 4  # that a video must have room for, one after the other, to hold any out


class Span(NamedTuple):
    """Frames of one video between two cuts, `start` included, `stop` not."""

    video: int
    start: int
    stop: int


class Place(NamedTuple):
    """Where a clip begins."""

    video: int
    start: int


class Footage:
    """Videos that can be read, and where clips of them may lie.

    Args:
        videos: what `survey` found.
        frames: of the longest clip, neighbours included.
        masks: folder of region labels, a folder a video by its name; None without.
        held_out: share of each video, its end, that is never trained on; at least a clip, but
            nothing of a video that has no room for four.

    Attributes:
        spans: that training draws from.
        held_out: spans that it never sees.

    Raises:
        InputError: no video is long enough.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        frames: int,
        masks: Path | None = None,
        held_out: float = 0.0,
    ) -> None:
        self.videos = list(videos)
        self.frames = frames
        self.masks = masks
        self.spans: list[Span] = []
        self.held_out: list[Span] = []
        for number, video in enumerate(self.videos):
            kept, apart = _divided(list(_scenes(number, video)), frames, held_out)
            self.spans += kept
            self.held_out += apart
        if not self.spans:
            raise InputError(
                f"No video has {frames} frames between two cuts; give longer ones, or train on"
                " shorter clips."
            )
        if held_out and not self.held_out:
            warnings.warn(
                f"No video has room for {LEAST_CLIPS} clips, so nothing is held out and no step can"
                " be called the best; the last one is delivered.",
                PartialInputWarning,
                stacklevel=2,
            )

    @classmethod
    def open(
        cls,
        folder: Path,
        frames: int,
        field: FieldOfView | None = None,
        masks: Path | None = None,
        *,
        held_out: float = 0.0,
        cache: Path | None = None,
    ) -> Footage:
        """Survey everything below a folder; what cannot be read is left out with a warning.

        Args:
            folder: of videos and images, or one video.
            frames: of the longest clip, neighbours included.
            field: of view, where the user knows it.
            masks: folder of region labels.
            held_out: share of each video that is never trained on.
            cache: folder that remembers surveys.

        Raises:
            InputError: nothing usable is there.
        """
        videos = []
        for path in find_videos(folder):
            try:
                found = survey(path, cache)
            except InputError as error:
                warnings.warn(f"{error} It is left out.", PartialInputWarning, stacklevel=2)
            else:
                videos.append(found if field is None else replace(found, field=field))
        if not videos:
            raise InputError(f"Nothing below {folder} can be read; give whole videos or images.")
        return cls(videos, frames, masks, held_out)

    def draw(self, rng: np.random.Generator, max_stride: int, frames: int) -> RawClip:
        """A clip at a random place and a random stride of 1..`max_stride`, as far as it fits.

        Every frame is as likely to begin one, whichever video it is in.

        Args:
            rng: draws.
            max_stride: from one of its frames to the next.
            frames: of the clip, at most those of the longest.
        """
        starts = np.array([self._starts(span) for span in self.spans])
        span = self.spans[rng.choice(len(starts), p=starts / starts.sum())]
        longest = (span.stop - span.start - 1) // (frames - 1) if frames > 1 else 1
        stride = int(rng.integers(1, min(max_stride, longest) + 1))
        last = span.stop - (frames - 1) * stride
        start = int(rng.integers(span.start, last))
        return self.read(Place(span.video, start), stride, frames)

    def spread(self, spans: Sequence[Span], count: int) -> list[Place]:
        """Up to `count` places for clips, spread evenly over the spans; always the same."""
        places = [
            Place(span.video, start)
            for span in spans
            for start in range(span.start, span.start + self._starts(span))
        ]
        chosen = np.unique(np.linspace(0, len(places) - 1, min(count, len(places))).round())
        return [places[int(number)] for number in chosen]

    def read(self, place: Place, stride: int = 1, frames: int | None = None) -> RawClip:
        """Decode every `stride`-th frame from a place on; of the longest clip where none says less.

        Raises:
            InputError: the video has changed since it was surveyed.
        """
        video = self.videos[place.video]
        count = self.frames if frames is None else frames
        wanted = range(place.start, place.start + count * stride, stride)
        with open_source(video.path, start=video.times[place.start]) as source:
            images = [
                frame.image
                for offset, frame in zip(range(wanted[-1] - place.start + 1), source, strict=False)
                if offset % stride == 0
            ]
        if len(images) < count:
            raise InputError(f"{video.path} has fewer frames than before; start again.")
        folder = None if self.masks is None else self.masks / video.path.stem
        labels = None if folder is None else [read_labels(label_path(folder, k)) for k in wanted]
        return RawClip(np.stack(images), video.field.mask(*video.size), labels)

    def _starts(self, span: Span) -> int:
        return span.stop - span.start - self.frames + 1


def _scenes(number: int, video: Video) -> Iterator[Span]:
    for start, stop in pairwise((0, *video.cuts, len(video.times))):
        yield Span(number, start, stop)


def _divided(scenes: list[Span], frames: int, share: float) -> tuple[list[Span], list[Span]]:
    """Spans of one video that are long enough, and those at its end that are held out."""
    kept = [span for span in scenes if span.stop - span.start >= frames]
    last = scenes[-1].stop
    if share == 0 or last < LEAST_CLIPS * frames:
        return kept, []
    border = last - max(round(share * last), frames)
    before = [Span(video, start, min(stop, border)) for video, start, stop in kept]
    after = [Span(video, max(start, border), stop) for video, start, stop in kept]
    before, after = (
        [span for span in spans if span.stop - span.start >= frames] for spans in (before, after)
    )
    return (before, after) if before and after else (kept, [])


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

    def squeeze_at(self, size: tuple[int, int]) -> float:
        """Pixels across for each pixel down, of what was as wide as high when it was recorded."""
        height, width = self.images.shape[1:3]
        return float(size[1] * height / (size[0] * width))

    def labels_at(self, size: tuple[int, int]) -> Tensor | None:
        """Regions at another size, picked and never mixed, [time, rows, columns]."""
        if self.labels is None:
            return None
        labels = torch.from_numpy(np.stack(self.labels)).float()[:, None]
        return F.interpolate(labels, size, mode="nearest-exact")[:, 0].long()
