"""TUM RGB-D's layout (Sturm et al. 2012) and Bonn's (Palazzolo et al. 2019)."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from endodav.data.dataset import Clip, Dataset, Range
from endodav.data.files import (
    depth_codes,
    explained,
    find_places,
    place_name,
    read_numbers,
    write_codes,
    write_images,
    write_numbers,
    write_text,
)
from endodav.data.poses import (
    MM_PER_METRE,
    from_quaternion,
    pinhole,
    pose_matrix,
    to_quaternion,
)
from endodav.data.sequence import Distortion, FrameRef, Intrinsics, LensModel, Pose, Sequence
from endodav.errors import InputError

UNIT_MM = MM_PER_METRE / 5000
LARGEST_GAP = 0.02  # seconds between an image and what is taken to belong to it, as TUM's tools do

# Published calibrations: fx, fy, cx, cy and OpenCV's coefficients.
KINECTS = {
    "freiburg1": ((517.3, 516.5, 318.6, 255.3), (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
    "freiburg2": ((520.9, 521.0, 325.1, 249.7), (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)),
    "freiburg3": ((535.4, 539.2, 320.1, 247.6), ()),
    "bonn": (
        (542.822841, 542.576870, 315.593520, 237.756098),
        (0.039903, -0.099343, -0.000730, -0.000144, 0.0),
    ),
}


def _locate(root: Path) -> list[Path]:
    return find_places(root, "rgb.txt", "depth.txt")


def _read(root: Path, place: Path, dataset: str) -> Sequence:
    images, depths = _file_list(place / "rgb.txt"), _file_list(place / "depth.txt")
    # Bonn's poses are those of markers on the camera, so they are no camera poses.
    poses = {} if dataset == "bonn" else _read_poses(place / "groundtruth.txt")
    begin = next(iter(images))
    nearest_depth, nearest_pose = _nearest(list(depths)), _nearest(list(poses))
    refs = []
    for time, image in images.items():
        depth_time, pose_time = nearest_depth(time), nearest_pose(time)
        refs.append(
            FrameRef(
                image,
                None if depth_time is None else depths[depth_time],
                time - begin,
                None if pose_time is None else poses[pose_time],
            )
        )
    name = place_name(root, place)
    intrinsics, distortion = _camera(place, dataset if dataset == "bonn" else place.name)
    return Sequence(
        dataset=dataset,
        name=name,
        refs=tuple(refs),
        read_depth=depth_codes(UNIT_MM),
        intrinsics=intrinsics,
        distortion=distortion,
    )


def _file_list(path: Path) -> dict[Fraction, Path]:
    """Files by time, exactly as printed."""
    found: dict[Fraction, Path] = {}
    with explained(path, "lines of a time and a file name"):
        for line in path.read_text().splitlines():
            if line.strip() and not line.startswith("#"):
                time, name = line.split()[:2]
                found[Fraction(time)] = path.parent / name
    if not found:
        raise InputError(f"{path} lists no files.")
    return found


def _read_poses(path: Path) -> dict[Fraction, Pose]:
    return {
        Fraction(repr(float(row[0]))): pose_matrix(from_quaternion(row[4:]), row[1:4], MM_PER_METRE)
        for row in read_numbers(path, 8)
    }


def _nearest(times: list[Fraction]) -> Callable[[Fraction], Fraction | None]:
    """The time closest to a given one, None where none is within `LARGEST_GAP`."""
    seconds = np.array([float(time) for time in times])

    def find(time: Fraction) -> Fraction | None:
        if not times:
            return None
        gaps = np.abs(seconds - float(time))
        best = int(gaps.argmin())
        return times[best] if gaps[best] <= LARGEST_GAP else None

    return find


def _camera(place: Path, name: str) -> tuple[Intrinsics | None, Distortion | None]:
    if (place / "K.txt").exists():
        return read_numbers(place / "K.txt", 3), None
    found = re.search("|".join(KINECTS), name)
    if found is None:
        return None, None
    matrix, coefficients = KINECTS[found[0]]
    bend = Distortion(LensModel.OPENCV, coefficients) if coefficients else None
    return pinhole(*matrix), bend


def _write(clip: Clip, root: Path, number: int, prefix: str) -> None:
    folder = root / f"{prefix}_{number:03d}"
    times = [f"{index / clip.fps:.6f}" for index in range(len(clip.images))]
    write_images(folder / "rgb", "{:05d}.png", clip.images)
    write_codes(folder / "depth", "{:05d}.png", clip.depth, UNIT_MM)
    for kind in ("rgb", "depth"):
        lines = [f"{time} {kind}/{index:05d}.png\n" for index, time in enumerate(times)]
        write_text(folder / f"{kind}.txt", "# timestamp filename\n" + "".join(lines))
    poses = [
        (float(time), *T[:3, 3] / MM_PER_METRE, *to_quaternion(T[:3, :3]))
        for time, T in zip(times, clip.T_world_from_camera, strict=True)
    ]
    write_numbers(folder / "groundtruth.txt", np.array(poses))
    write_numbers(folder / "K.txt", clip.intrinsics)


TUM = Dataset(
    name="tum",
    title="TUM RGB-D",
    layout="folders with rgb.txt, depth.txt and groundtruth.txt",
    locate=_locate,
    read=partial(_read, dataset="tum"),
    range=Range.ROOM,
    write=partial(_write, prefix="rgbd_dataset_rendered"),
    step_mm=UNIT_MM,
)
BONN = Dataset(
    name="bonn",
    title="Bonn RGB-D Dynamic",
    layout="rgbd_bonn_*/ with rgb.txt, depth.txt and groundtruth.txt",
    locate=_locate,
    read=partial(_read, dataset="bonn"),
    range=Range.ROOM,
    write=partial(_write, prefix="rgbd_bonn_rendered"),
    step_mm=UNIT_MM,
    has_poses=False,
)
