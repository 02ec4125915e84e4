"""Stereo video whose left picture lies above the right one, as da Vinci recordings have it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from endodav.errors import InputError
from endodav.types import Frame
from endodav.video.decode import VideoFile

Half = UInt8[np.ndarray, "half width 3"]


def split_stacked(image: UInt8[np.ndarray, "stacked width 3"]) -> tuple[Half, Half]:
    """Left and right picture: the upper and the lower half."""
    half = image.shape[0] // 2
    return image[:half], image[half:]


class StackedVideo:
    """The left pictures of a stacked video.

    Raises:
        InputError: the file cannot be read, or its height cannot be halved.
    """

    def __init__(self, path: Path) -> None:
        self._video = VideoFile(path)
        self.info = self._video.info
        if self.info.height % 2:
            raise InputError(
                f"{path} is {self.info.height} rows high, so it is no stacked stereo video."
            )

    def frames(self) -> Iterator[Frame]:
        """Left pictures in order."""
        for frame in self._video.frames():
            yield replace(frame, image=split_stacked(frame.image)[0])
