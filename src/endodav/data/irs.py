"""IRS (Wang et al. 2021): rendered rooms in stereo, with disparity as EXR."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
from numpy.typing import NDArray

from endodav.data.dataset import Clip, Dataset, Range
from endodav.data.files import (
    at_rate,
    find_places,
    from_depth_file,
    images_in,
    numbered,
    place_name,
    read_float_image,
    write_each,
    write_images,
)
from endodav.data.poses import pinhole
from endodav.data.sequence import FrameRef, Sequence
from endodav.types import DepthMap

FPS = 30.0  # nominal; the files give no times
FOCAL = 480.0  # pixels
BASELINE_MM = 100.0
SIZE = (540, 960)


def _locate(root: Path) -> list[Path]:
    return find_places(root, "l_*.png", "d_*.exr")


def _read(root: Path, place: Path) -> Sequence:
    disparities = numbered(place, "d_*.exr")
    height, width = SIZE
    return Sequence(
        dataset=DATASET.name,
        name=place_name(root, place),
        refs=tuple(
            FrameRef(image, disparities.get(number), at_rate(index, FPS))
            for index, (number, image) in enumerate(images_in(place, "l_*.png").items())
        ),
        read_depth=from_depth_file(_read_depth),
        intrinsics=pinhole(FOCAL, FOCAL, width / 2, height / 2),
    )


def _read_depth(path: Path) -> DepthMap:
    """Focal length times baseline over disparity; no disparity is no depth."""
    disparity = read_float_image(path)
    known = disparity > 0
    depth = np.zeros_like(disparity)
    np.divide(np.float32(FOCAL * BASELINE_MM), disparity, out=depth, where=known)
    return depth


def _write(clip: Clip, root: Path, number: int) -> None:
    folder = root / "Home" / f"Rendered{number}"
    write_images(folder, "l_{}.png", clip.images, first=1)
    disparity = np.zeros(clip.depth.shape, np.float32)
    np.divide(FOCAL * BASELINE_MM, clip.depth, out=disparity, where=clip.depth > 0)
    write_each(folder, "d_{}.exr", disparity, _save_exr, first=1)


def _save_exr(path: Path, values: NDArray[Any]) -> None:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"Y": np.ascontiguousarray(values)}).write(str(path))


DATASET = Dataset(
    name="irs",
    title="IRS",
    layout="PLACE/SCENE/ with l_N.png and d_N.exr",
    locate=_locate,
    read=_read,
    range=Range.ANY,
    write=_write,
    has_poses=False,
)
