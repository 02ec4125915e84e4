"""Still images as a source: a folder, a glob pattern or one file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from endodav.errors import InputError
from endodav.types import Frame, RGBImage, SourceInfo
from endodav.video.timing import Clock, is_inside

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
EXIF_ORIENTATION = 0x0112  # EXIF 2.32, table 4
SIDEWAYS = frozenset({5, 6, 7, 8})  # orientations that swap rows and columns


def natural_key(path: Path) -> list[tuple[int, int | str]]:
    """Sorts img2 before img10: runs of digits compare as numbers, the rest as lower-case text."""
    parts = re.split(r"(\d+)", path.as_posix().lower())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]


def find_images(folder: Path, pattern: str = "*") -> list[Path]:
    """Images that match a glob pattern in a folder, hidden files aside, in natural order.

    Raises:
        InputError: there are none.
    """
    paths = (
        path
        for path in folder.glob(pattern)
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )
    if found := sorted(paths, key=natural_key):
        return found
    kinds = ", ".join(sorted(IMAGE_SUFFIXES))
    raise InputError(f"No images ({kinds}) match {folder / pattern}.")


def read_image(path: Path) -> RGBImage:
    """One image as 8-bit RGB, turned upright by its EXIF orientation, without alpha.

    16-bit values are divided by 257, so that 65535 becomes 255.

    Raises:
        InputError: the file cannot be decoded or its pixels are not 1, 8 or 16 bits deep.
    """
    try:
        with Image.open(path) as stored:
            image = ImageOps.exif_transpose(stored)
            if image.mode in ("I", "F"):
                raise InputError(
                    f"{path} holds 32-bit values, whose white is not known; "
                    "save it with 8 or 16 bits."
                )
            if image.mode.startswith("I;16"):
                grey = np.asarray(image).astype(np.uint32)
                return np.repeat(((grey + 128) // 257).astype(np.uint8)[:, :, None], 3, axis=2)
            if (
                "transparency" in image.info
            ):  # Pillow warns if a palette's alpha is dropped directly
                image = image.convert("RGBA")
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as an image: {error}.") from error


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image after its EXIF orientation, from its header alone.

    Raises:
        InputError: the header cannot be read.
    """
    try:
        with Image.open(path) as image:
            sideways = image.getexif().get(EXIF_ORIENTATION) in SIDEWAYS
            return (image.width, image.height) if sideways else (image.height, image.width)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as an image: {error}.") from error


class ImageSequence:
    """Images of one size, read one at a time, at a constant nominal rate from time 0.

    Args:
        paths: at least one file, in order.
        fps: frames a second.
        name: what outputs call this input.

    Raises:
        InputError: a header cannot be read, or an image is not as large as the first.
    """

    loss: str | None = None

    def __init__(self, paths: Sequence[Path], fps: Fraction, name: str) -> None:
        height, width = image_size(paths[0])
        for path in paths[1:]:
            if (size := image_size(path)) != (height, width):
                raise InputError(
                    f"{path} is {size[1]}x{size[0]} but {paths[0].name} is {width}x{height}; "
                    "the images of one input must have one size."
                )
        self._paths = paths
        self.clock = Clock(begin=Fraction(0), period=1 / fps)
        self.info = SourceInfo(name, height, width, fps, len(paths))

    def frames(self, start: Fraction | None = None, end: Fraction | None = None) -> Iterator[Frame]:
        """Frames with start <= timestamp < end; images outside are not read.

        Raises:
            InputError: an image cannot be read.
        """
        times = (k * self.clock.period for k in range(len(self._paths)))
        inside = (
            (path, time)
            for path, time in zip(self._paths, times, strict=True)
            if is_inside(time, start, end)
        )
        for index, (path, time) in enumerate(inside):
            yield Frame(read_image(path), time, index)
