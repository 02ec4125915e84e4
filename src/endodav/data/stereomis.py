"""StereoMIS (Hayoz et al. 2023): da Vinci stereo video with the robot's camera poses, no depth."""

from __future__ import annotations

import configparser
from pathlib import Path

from endodav.data.dataset import Dataset, Range
from endodav.data.files import at_rate, explained, find_places, place_name, read_numbers
from endodav.data.poses import MM_PER_METRE, from_quaternion, pinhole, pose_matrix
from endodav.data.sequence import Distortion, FrameRef, Intrinsics, LensModel, Sequence
from endodav.data.stacked import StackedVideo
from endodav.errors import InputError

CALIBRATION = "StereoCalibration.ini"
POSES = "groundtruth.txt"


def _locate(root: Path) -> list[Path]:
    return find_places(root, CALIBRATION, "*.mp4")


def _read(root: Path, place: Path) -> Sequence:
    videos = sorted(place.glob("*.mp4"))
    if len(videos) != 1:
        raise InputError(f"{place} holds {len(videos)} videos; one sequence is one .mp4.")
    video = StackedVideo(videos[0])
    rows = read_numbers(place / POSES, 8)  # frame, translation in metres, quaternion x y z w
    poses = {
        int(row[0]): pose_matrix(from_quaternion(row[4:]), row[1:4], MM_PER_METRE) for row in rows
    }
    fps = float(video.info.fps)
    refs = tuple(
        FrameRef(videos[0], None, at_rate(index, fps), poses.get(index))
        for index in range(max(poses) + 1)
    )
    intrinsics, distortion = _left_camera(place / CALIBRATION)
    return Sequence(
        dataset=DATASET.name,
        name=place_name(root, place),
        refs=refs,
        read_depth=None,
        video=video,
        intrinsics=intrinsics,
        distortion=distortion,
    )


def _left_camera(path: Path) -> tuple[Intrinsics, Distortion]:
    """The section StereoLeft: fc_x, fc_y, cc_x, cc_y and kc_0 ... of OpenCV's model."""
    parser = configparser.ConfigParser()
    with explained(path, "a calibration with the section StereoLeft"):
        try:
            parser.read_string(path.read_text())
            left = {key: float(value) for key, value in parser["StereoLeft"].items()}
        except configparser.Error as error:
            raise ValueError(str(error)) from error
        intrinsics = pinhole(left["fc_x"], left["fc_y"], left["cc_x"], left["cc_y"])
        coefficients = tuple(left[key] for key in sorted(left) if key.startswith("kc_"))
    return intrinsics, Distortion(LensModel.OPENCV, coefficients)


DATASET = Dataset(
    name="stereomis",
    title="StereoMIS",
    layout=f"folders with one .mp4 (left above right), {CALIBRATION} and {POSES}",
    locate=_locate,
    read=_read,
    range=Range.ANY,
)
