"""SCARED (Allan et al. 2021): porcine abdomens under structured light, unpacked by `prepare`.

Frames count from 1 in picture names, as the published splits have it, and from 0 in the names that
SCARED itself gives to `frame_data` and `scene_points`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import yaml
from jaxtyping import Float32
from numpy.typing import NDArray

from endodav.data.dataset import Clip, Dataset, Range
from endodav.data.files import (
    at_rate,
    explained,
    find_places,
    from_depth_file,
    images_in,
    numbered,
    read_float_image,
    read_json,
    write_each,
    write_images,
    write_text,
)
from endodav.data.float_tiff import write_float_tiff
from endodav.data.poses import inverted
from endodav.data.sequence import Distortion, Flag, FrameRef, Intrinsics, LensModel, Pose, Sequence
from endodav.types import DepthMap

DEFAULT_FPS = 25.0
MISCALIBRATED = frozenset({4, 5})  # datasets whose extrinsics are known to be wrong
Z = 2  # scene points are X, Y, Z in the order of red, green, blue; OpenCV reads them as Z, Y, X
PREPARED = "prepared.json"  # what `prepare` says about a keyframe that it has unpacked
CALIBRATION = "endoscope_calibration.yaml"
KEYFRAME = re.compile(r"dataset_?(\d+)/keyframe_?(\d+)")


def keyframe_name(dataset: str | int, keyframe: str | int) -> str:
    """The name that the published splits use."""
    return f"dataset{int(dataset)}/keyframe{int(keyframe)}"


def _locate(root: Path) -> list[Path]:
    return [
        place.parent
        for place in find_places(root, "left")
        if place.name == "data" and KEYFRAME.search(place.as_posix())
    ]


def _read(_root: Path, place: Path) -> Sequence:
    found = KEYFRAME.search(place.as_posix())
    assert found is not None, "_locate returns keyframes only"
    data = place / "data"
    images = images_in(data / "left")
    truths = numbered(data / "depth", "*.tiff") or {
        number + 1: path for number, path in numbered(data / "scene_points", "*.tiff").items()
    }
    records = {number + 1: path for number, path in numbered(data / "frame_data").items()}
    prepared = read_json(place / PREPARED) if (place / PREPARED).exists() else {}
    fps = float(prepared.get("fps", DEFAULT_FPS))
    first = min(images)
    refs = tuple(
        FrameRef(
            image,
            truths.get(number),
            at_rate(number - first, fps),
            _pose(records[number]) if number in records else None,
            flags=frozenset() if number == first else frozenset({Flag.INTERPOLATED}),
        )
        for number, image in images.items()
    )
    intrinsics, distortion = _left_camera(place, records.get(first))
    flags = {Flag.MISCALIBRATED} if int(found[1]) in MISCALIBRATED else set()
    if prepared.get("poses_overridden"):
        flags.add(Flag.POSES_OVERRIDDEN)
    return Sequence(
        dataset=DATASET.name,
        name=keyframe_name(*found.groups()),
        refs=refs,
        read_depth=from_depth_file(_read_depth),
        intrinsics=intrinsics,
        distortion=distortion,
        flags=frozenset(flags),
    )


def _pose(path: Path) -> Pose:
    stored = read_json(path)
    with explained(path, "a 4x4 camera-pose"):
        return inverted(np.array(stored["camera-pose"], np.float64).reshape(4, 4))


def _left_camera(place: Path, record: Path | None) -> tuple[Intrinsics, Distortion]:
    """The calibration of the first frame, else the keyframe's own."""
    if record is not None and "camera-calibration" in (stored := read_json(record)):
        path, keys, calibration = record, ("KL", "DL"), stored["camera-calibration"]
    else:
        path, keys = place / CALIBRATION, ("M1", "D1")
        with explained(path, "a calibration with M1 and D1"):
            calibration = _opencv_yaml(path.read_text())
    with explained(path, f"a calibration with {' and '.join(keys)}"):
        intrinsics = np.array(calibration[keys[0]], np.float64).reshape(3, 3)
        coefficients = np.array(calibration[keys[1]], np.float64).ravel()
    return intrinsics, Distortion(LensModel.OPENCV, tuple(coefficients.tolist()))


class _OpenCVLoader(yaml.SafeLoader):
    """OpenCV's YAML knows one type more than YAML: the matrix."""


def _matrix(loader: yaml.SafeLoader, node: yaml.Node) -> NDArray[np.float64]:
    assert isinstance(node, yaml.MappingNode)
    fields: Any = loader.construct_mapping(node, deep=True)
    return np.array(fields["data"], np.float64).reshape(fields["rows"], fields["cols"])


_OpenCVLoader.add_constructor("tag:yaml.org,2002:opencv-matrix", _matrix)


def _opencv_yaml(text: str) -> dict[str, Any]:
    """OpenCV's `%YAML:1.0` is no directive that YAML knows, so that line is left out."""
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    try:
        loaded: Any = yaml.load("\n".join(lines), _OpenCVLoader)  # noqa: S506 (safe)
    except yaml.YAMLError as error:
        raise ValueError("no YAML") from error
    if not isinstance(loaded, dict):
        raise ValueError("no YAML")
    return loaded


def _read_depth(path: Path) -> DepthMap:
    """A prepared depth map, or the left half of SCARED's own scene points."""
    if path.parent.name == "depth":
        return read_float_image(path)
    return left_depth(read_scene_points(path))


def read_scene_points(path: Path) -> Float32[np.ndarray, "rows width 3"]:
    """Points in millimetres, in the frame of each camera, the left picture above the right one.

    Raises:
        InputError: the file is missing, cut off or no float TIFF with three channels.
    """
    with explained(path, "scene points (a float TIFF with three channels)"):
        if not path.is_file():
            raise FileNotFoundError(path)
        with av.open(str(path.resolve()), format="tiff_pipe") as container:
            frame = next(iter(container.decode(video=0)))
        if not frame.format.name.startswith("rgbf32") or frame.is_corrupt:
            raise ValueError(f"its pixels are {frame.format.name}")
        return frame.to_ndarray().astype(np.float32)


def left_depth(points: Float32[np.ndarray, "rows width 3"]) -> DepthMap:
    """Z of the upper half, in millimetres; not a number where the structured light saw nothing."""
    return np.ascontiguousarray(points[: len(points) // 2, :, Z])


def _write(clip: Clip, root: Path, number: int) -> None:
    name = keyframe_name(number // 4 + 1, number % 4 + 1)
    data = root / name / "data"
    frames, height, width = clip.depth.shape
    write_images(data / "left", "{:010d}.png", clip.images, first=1)
    camera = {"KL": clip.intrinsics.tolist(), "DL": [[0.0] * 5], "img_size": [width, height]}
    for index, T in enumerate(clip.T_world_from_camera):
        record = {"camera-pose": inverted(T).tolist(), "camera-calibration": camera}
        write_text(data / "frame_data" / f"frame_data{index:06d}.json", json.dumps(record))
    points = np.zeros((frames, 2 * height, width, 3), np.float32)
    points[:, :height, :, Z] = clip.depth
    write_each(data / "scene_points", "scene_points{:06d}.tiff", points, write_float_tiff)


DATASET = Dataset(
    name="scared",
    title="SCARED (prepared)",
    layout=(
        "datasetN/keyframeM/data/left/*.png; raw downloads are unpacked by `endodav prepare scared`"
    ),
    locate=_locate,
    read=_read,
    range=Range.ENDOSCOPE,
    write=_write,
)
