"""What the speed benchmarks share: real frames, seeded weights, stored results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from endodav.bench.machine import hardware, versions
from endodav.bench.measure import to_and_fro
from endodav.export.examples import central
from endodav.inference.estimator import DepthEstimator
from endodav.models.depth import build
from endodav.models.presets import PRESETS
from endodav.synthetic.demo import PATH as DEMO
from endodav.synthetic.writer import write_video
from endodav.types import Frame
from endodav.video.decode import VideoFile
from endodav.video.source import MediaSource, open_source

RESULTS = Path(__file__).parent / "results"
REAL_CLIP = Path(__file__).parents[2] / "shared" / "data" / "laparoscopy"
HD = (1280, 720)
MADE_FRAMES = 75  # of a file that has to be made
SEED = 0
SEEDED_STD = 0.02  # of what would begin at zero, as the motion modules' outputs do


def default_video() -> Path:
    """The real clip where it is at hand, else the bundled one."""
    return next(iter(sorted(REAL_CLIP.glob("*.mp4"))), DEMO)


def read_frames(video: Path, count: int, size: tuple[int, int]) -> np.ndarray:
    """The first frames' central parts [time, height, width, 3] at `size` (width, height).

    To and fro if the video has too few.
    """
    with open_source(video) as source:
        images = [
            np.asarray(
                Image.fromarray(central(frame.image, size[::-1])).resize(size, Image.Resampling.BOX)
            )
            for frame in islice(source, count)
        ]
    return np.stack(list(islice(to_and_fro(np.stack(images)), count)))


def hd_file(video: Path, folder: Path) -> Path:
    """The video itself if it is 720p, else one that is, made of its frames."""
    with open_source(video) as source:
        if (source.info.width, source.info.height) == HD:
            return video
    path = folder / "hd.mp4"
    write_video(read_frames(video, MADE_FRAMES, HD), path, 25.0, crf=23)
    return path


class _Again:
    """The central parts of a file's frames again and again, their times and numbers going on."""

    loss = None

    def __init__(self, path: Path, size: tuple[int, int], count: int) -> None:
        self._file, self._size = VideoFile(path), size
        found = self._file.info
        height, width = central(
            np.empty((found.height, found.width, 3), np.uint8), size[::-1]
        ).shape[:2]
        self.info = replace(found, height=height, width=width, frame_count=count)
        self.clock = self._file.clock

    def frames(self, start: Fraction | None, end: Fraction | None) -> Iterator[Frame]:
        """All of them: a range of time has no meaning here."""
        whole = chain.from_iterable(self._file.frames(start, end) for _ in count())
        for index, frame in enumerate(islice(whole, self.info.frame_count)):
            image = central(frame.image, self._size[::-1])
            yield Frame(image, index / self.info.fps, index)


def again(path: Path, size: tuple[int, int], frames: int) -> MediaSource:
    """So many frames, the central parts of a file's, which is begun again when it ends."""
    return MediaSource(cast(VideoFile, _Again(path, size, frames)), None, None, None)


def seeded_weights(name: str, path: Path) -> Path:
    """A checkpoint with random weights for the architecture of that name, the same every time."""
    torch.manual_seed(SEED)
    network = build(PRESETS[name])
    for parameter in network.parameters():
        if not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=SEEDED_STD)
    save_file(network.state_dict(), path)
    return path


def load_seeded(name: str, folder: Path, **options: Any) -> DepthEstimator:
    """The architecture of that name with seeded weights, written into a folder to be read."""
    weights = seeded_weights(name, folder / "seeded.safetensors")
    return DepthEstimator.from_pretrained(name, weights=weights, **options)


def store(name: str, report: Mapping[str, Any]) -> None:
    """Write a report beside the others, with what it was made on, and print it."""
    made_on = {"versions": versions(), "hardware": hardware()}
    tell({**report, **made_on}, RESULTS / name)


def tell(report: Mapping[str, Any], path: Path | None) -> None:
    """Print a report, and write it where wanted."""
    text = json.dumps(report, indent=2) + "\n"
    if path is not None:
        path.write_text(text)
    print(text, end="")
