"""SERV-CT (Edwards et al. 2022): 16 stereo pairs of ex vivo organs with depth from CT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from endodav.data.dataset import Clip, Dataset, Range
from endodav.data.files import (
    at_rate,
    depth_codes,
    explained,
    find_places,
    images_in,
    numbered,
    place_name,
    read_json,
    write_codes,
    write_images,
    write_text,
)
from endodav.data.sequence import Flag, FrameRef, Intrinsics, Sequence

UNIT_MM = 1 / 256
NOMINAL_FPS = 1.0  # stills


def _locate(root: Path) -> list[Path]:
    return find_places(root, "Left_rectified", "*_CT")


def _read(root: Path, place: Path) -> Sequence:
    truth = sorted(place.glob("*_CT"))[0]
    depths = numbered(truth / "DepthL", "*.png")
    refs = tuple(
        FrameRef(
            image,
            depths.get(number),
            at_rate(index, NOMINAL_FPS),
            intrinsics=_left_camera(place / "Rectified_calibration" / f"{number:03d}.json"),
        )
        for index, (number, image) in enumerate(images_in(place / "Left_rectified").items())
    )
    return Sequence(
        dataset=DATASET.name,
        name=place_name(root, place),
        refs=refs,
        read_depth=depth_codes(UNIT_MM),
        flags=frozenset({Flag.STILLS}),
    )


def _left_camera(path: Path) -> Intrinsics:
    """Left 3x3 of P1, which is nested rows or OpenCV's {rows, cols, data}."""
    stored: Any = read_json(path)
    with explained(path, "a stereo calibration with P1"):
        projection = stored["P1"]
        if isinstance(projection, dict):
            projection = projection["data"]
        return np.array(projection, np.float64).reshape(3, 4)[:, :3]


def _write(clip: Clip, root: Path, number: int) -> None:
    folder = root / f"Experiment_{number + 1}"
    write_images(folder / "Left_rectified", "{:03d}.png", clip.images)
    write_codes(folder / "Ground_truth_CT" / "DepthL", "{:03d}.png", clip.depth, UNIT_MM)
    projection = np.pad(clip.intrinsics, ((0, 0), (0, 1))).tolist()
    for index in range(len(clip.images)):
        calibration = folder / "Rectified_calibration" / f"{index:03d}.json"
        write_text(calibration, json.dumps({"P1": projection}))


DATASET = Dataset(
    name="servct",
    title="SERV-CT",
    layout=(
        "Experiment_N/ with Left_rectified/, Ground_truth_CT/DepthL/ and Rectified_calibration/"
    ),
    locate=_locate,
    read=_read,
    range=Range.ENDOSCOPE,
    write=_write,
    step_mm=UNIT_MM,
    has_poses=False,
)
