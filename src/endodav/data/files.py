"""Files as datasets keep them: found, paired and read with errors that name them; and written."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
from jaxtyping import Float, Float32, Float64, Num, UInt8
from numpy.typing import NDArray
from PIL import Image

from endodav.data.sequence import FrameRef
from endodav.errors import InputError, OutputError
from endodav.types import DepthMap
from endodav.video.images import IMAGE_SUFFIXES, natural_key

DAMAGED = (OSError, EOFError, SyntaxError, ValueError, KeyError, IndexError, TypeError)
LARGEST_CODE = 65535
HASHED_AT_ONCE = 1 << 20  # bytes


@contextmanager
def explained(path: Path, expected: str) -> Iterator[None]:
    """Say which file is missing or damaged, and what it should hold.

    Raises:
        InputError: whatever went wrong with `path` inside the context.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # what it doubts, it raises later
            yield
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; it should hold {expected}.") from error
    except DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path} cannot be read as {expected} ({reason}); download it again."
        ) from error


def find_places(root: Path, *markers: str) -> list[Path]:
    """Folders at or below `root` in which every marker, a name with wildcards, matches something.

    Nothing inside a folder that was found is looked at; hidden and unfinished ones are passed over.
    """
    found = []
    for folder, inside, files in os.walk(root):
        names = inside + files
        if all(fnmatch.filter(names, marker) for marker in markers):
            found.append(Path(folder))
            inside.clear()
        inside[:] = [name for name in inside if not name.startswith(".") and ".partial" not in name]
    return sorted(found, key=natural_key)


def place_name(root: Path, place: Path) -> str:
    """A place as the name of its sequence."""
    return root.resolve().name if place == root else place.relative_to(root).as_posix()


def number_of(path: Path) -> int:
    """The last run of digits in a file's name, without what follows its first dot."""
    digits = re.findall(r"\d+", path.name.split(".")[0])
    if not digits:
        raise InputError(f"{path} has no number in its name, so it cannot be paired.")
    return int(digits[-1])


def numbered(folder: Path, pattern: str = "*") -> dict[int, Path]:
    """Visible files of a folder by the number in their names, in order; empty if it is absent."""
    paths = (path for path in folder.glob(pattern) if not path.name.startswith("."))
    return dict(sorted((number_of(path), path) for path in paths if path.is_file()))


def images_in(folder: Path, pattern: str = "*") -> dict[int, Path]:
    """Images of a folder by number, in order.

    Raises:
        InputError: there are none.
    """
    found = {
        number: path
        for number, path in numbered(folder, pattern).items()
        if path.suffix.lower() in IMAGE_SUFFIXES
    }
    if not found:
        raise InputError(f"{folder} is missing or holds no image {pattern}.")
    return found


def sha256(read: Callable[[int], bytes]) -> str:
    """Hash in hexadecimal of what the `read` of a stream still returns."""
    digest = hashlib.sha256()
    while chunk := read(HASHED_AT_ONCE):
        digest.update(chunk)
    return digest.hexdigest()


def at_rate(index: int, fps: float) -> Fraction:
    """Time of a frame at a constant rate."""
    return index / Fraction(fps).limit_denominator(1001)


def read_codes(path: Path) -> NDArray[np.uint16]:
    """Depth codes of a grey 8- or 16-bit picture.

    Raises:
        InputError: it is missing, damaged or has colours.
    """
    with explained(path, "a grey 16-bit picture of depth"), Image.open(path) as image:
        if image.mode not in ("I;16", "I;16B", "I", "L"):
            raise ValueError(f"its pixels are of kind {image.mode}")
        return np.asarray(image).astype(np.uint16, copy=False)


def scaled_codes(path: Path, unit: float) -> DepthMap:
    """Depth in millimetres of a picture whose codes count `unit` millimetres each; 0 is unknown."""
    return np.asarray(read_codes(path) * np.float32(unit), np.float32)


def depth_codes(unit: float) -> Callable[[FrameRef], DepthMap]:
    """How a sequence reads depth files whose codes count `unit` millimetres each."""
    return from_depth_file(lambda path: scaled_codes(path, unit))


def from_depth_file(read: Callable[[Path], DepthMap]) -> Callable[[FrameRef], DepthMap]:
    """How a sequence reads depth, from a function of a frame's depth file."""

    def read_depth(ref: FrameRef) -> DepthMap:
        assert ref.depth is not None, "only frames with a depth file are asked for their depth"
        return read(ref.depth)

    return read_depth


def read_float_image(path: Path) -> Float32[np.ndarray, "height width"]:
    """One-channel float TIFF, .npy or EXR."""
    with explained(path, "a float picture of depth"):
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        elif path.suffix == ".exr":
            values = _read_exr(path)
        else:
            with Image.open(path) as image:
                if image.mode != "F":
                    raise ValueError(f"its pixels are of kind {image.mode}, not float")
                values = np.asarray(image)
        if values.ndim != 2:
            raise ValueError(f"its shape is {list(values.shape)}")
        return np.asarray(values, np.float32)


def _read_exr(path: Path) -> NDArray[Any]:
    """The only channel of an EXR picture, or the first of several equal ones."""
    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        channels = OpenEXR.File(str(path), separate_channels=True).channels()
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    chosen = next((channels[name] for name in ("Z", "Y", "R") if name in channels), None)
    return np.asarray((chosen or next(iter(channels.values()))).pixels)


def read_numbers(path: Path, columns: int | None = None) -> Float64[np.ndarray, "rows columns"]:
    """A table of numbers in text: commas or blanks between them, # before comments.

    Raises:
        InputError: it is missing, or a row is not `columns` numbers long.
    """
    what = "numbers" if columns is None else f"rows of {columns} numbers"
    with explained(path, what):
        text = path.read_text().replace(",", " ")
        rows = [line.split("#")[0].split() for line in text.splitlines()]
        table = np.array([[float(cell) for cell in row] for row in rows if row], np.float64)
        if table.ndim != 2 or (columns is not None and table.shape[1] != columns):
            raise ValueError(f"found a table of shape {list(table.shape)}")
        return table


def read_json(path: Path) -> Any:
    """A JSON file.

    Raises:
        InputError: it is missing or cut off.
    """
    with explained(path, "JSON"):
        return json.loads(path.read_text())


def write_text(path: Path, text: str) -> None:
    """Write a text file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_numbers(path: Path, table: Num[np.ndarray, "rows columns"], delimiter: str = " ") -> None:
    """Write a table of numbers without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, table, fmt="%.17g", delimiter=delimiter)


def write_images(
    folder: Path, name: str, images: UInt8[np.ndarray, "time h w 3"], first: int = 0
) -> None:
    """Write pictures under numbered names: `name` is a format of the number, as "{:06d}.png"."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images, first):
        Image.fromarray(image).save(folder / name.format(index), quality=95)


def write_codes(folder: Path, name: str, depth: Float[np.ndarray, "time h w"], unit: float) -> None:
    """Write depth in millimetres as 16-bit codes of `unit` millimetres; see `write_images`.

    Raises:
        OutputError: a depth is beyond the largest code.
    """
    farthest = float(depth.max(initial=0.0))
    if round(farthest / unit) > LARGEST_CODE:
        raise OutputError(
            f"The depth reaches {farthest:g} mm, but this layout holds at most "
            f"{LARGEST_CODE * unit:g} mm; choose another layout."
        )
    write_each(
        folder,
        name,
        np.round(depth / unit).astype(np.uint16),
        lambda path, codes: Image.fromarray(codes).save(path),
    )


def write_each(
    folder: Path,
    name: str,
    maps: NDArray[Any],
    save: Callable[[Path, NDArray[Any]], None],
    first: int = 0,
) -> None:
    """Save maps under numbered names by a function of path and map."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, values in enumerate(maps, first):
        save(folder / name.format(index), values)
