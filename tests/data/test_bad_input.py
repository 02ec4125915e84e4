"""What is missing, cut off or of the wrong size is named."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from endodav.data import DATASETS, open_dataset
from endodav.errors import InputError
from tests.data import samples

CALIBRATIONS = {
    "hamlyn": "intrinsics.txt",
    "c3vd": "pose.txt",
    "servct": "001.json",
    "simcol3d": "cam.txt",
    "kitti": "calib_cam_to_cam.txt",
    "scannet": "intrinsic_depth.txt",
    "vkitti2": "intrinsic.txt",
    "tartanair": "pose_left.txt",
    "tum": "groundtruth.txt",
}
DEPTHS = {
    "scared": "scene_points000001.tiff",
    "hamlyn": "0000000002.png",
    "c3vd": "0001_depth.tiff",
    "sintel": "frame_0002.dpt",
    "tartanair": "000001_left_depth.npy",
    "irs": "d_2.exr",
    "kitti": "0000000002.png",
}


def depth_file(root, name):
    return next(p for p in sorted(root.rglob(DEPTHS[name])) if "image0" not in str(p.parent.name))


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_missing_calibration_is_named(name, tmp_path):
    samples.make(name, tmp_path)
    (path,) = tmp_path.rglob(CALIBRATIONS[name])
    path.unlink()
    with pytest.raises(InputError, match=f"{CALIBRATIONS[name]} is missing"):
        list(open_dataset(name, tmp_path))


@pytest.mark.parametrize("name", [n for n in CALIBRATIONS if n != "servct"])
def test_damaged_calibration_is_named(name, tmp_path):
    samples.make(name, tmp_path)
    (path,) = tmp_path.rglob(CALIBRATIONS[name])
    path.write_text("1 2 three\n" * 2)
    with pytest.raises(InputError, match=CALIBRATIONS[name]):
        list(open_dataset(name, tmp_path))


@pytest.mark.parametrize("name", sorted(DEPTHS.keys() - {"kitti"}))
def test_missing_depth_is_no_depth(name, tmp_path):
    samples.make(name, tmp_path)
    depth_file(tmp_path, name).unlink()
    (sequence,) = open_dataset(name, tmp_path)
    assert [sample.depth is None for sample in sequence] == [False, True, False]


@pytest.mark.parametrize("name", sorted(DEPTHS.keys() - {"kitti"}))
def test_cut_off_depth_is_named(name, tmp_path):
    samples.make(name, tmp_path)
    path = depth_file(tmp_path, name)
    path.write_bytes(path.read_bytes()[:30])
    (sequence,) = open_dataset(name, tmp_path)
    with pytest.raises(InputError, match=DEPTHS[name]):
        list(sequence)


def test_depth_of_another_size_is_named(tmp_path):
    samples.make("rendered", tmp_path)
    path = tmp_path / "clip_000" / "depth" / "00001.png"
    Image.fromarray(np.ones((5, 6), np.uint16)).save(path)
    (sequence,) = open_dataset("rendered", tmp_path)
    with pytest.raises(InputError, match=r"00001.png is 6x5 but its image 00001.png is 32x24"):
        list(sequence)


def test_coloured_depth_is_refused(tmp_path):
    samples.make("rendered", tmp_path)
    path = tmp_path / "clip_000" / "depth" / "00001.png"
    Image.fromarray(np.ones((24, 32, 3), np.uint8)).save(path)
    (sequence,) = open_dataset("rendered", tmp_path)
    with pytest.raises(InputError, match="pixels are of kind RGB"):
        list(sequence)


def test_a_video_shorter_than_its_depth_is_named(tmp_path):
    samples.make("folder", tmp_path)
    samples.video(tmp_path / "walk.mp4", samples.make_truth(1, 2).images[:2])
    (sequence,) = open_dataset("folder", tmp_path)
    with pytest.raises(InputError, match="ends after 2 frames"):
        list(sequence)


def test_another_number_of_poses_is_named(tmp_path):
    for name, file in (
        ("rendered", "poses.txt"),
        ("c3vd", "pose.txt"),
        ("simcol3d", "SavedPosition_S1.txt"),
    ):
        samples.make(name, tmp_path)
        (path,) = tmp_path.rglob(file)
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
        with pytest.raises(InputError, match="3"):
            list(open_dataset(name, tmp_path))


def test_an_unknown_colmap_camera_is_named(tmp_path):
    samples.colmap(tmp_path, samples.make_truth(20, 90), binary=False)
    path = tmp_path / "sparse" / "0" / "cameras.txt"
    path.write_text(path.read_text().replace("OPENCV", "FOV"))
    with pytest.raises(InputError, match="the camera model FOV is none of"):
        list(open_dataset("colmap", tmp_path))


@pytest.mark.parametrize("file", ["cameras.bin", "images.bin", "points3D.bin"])
def test_a_cut_off_colmap_model_is_named(file, tmp_path):
    samples.colmap(tmp_path, samples.make_truth(20, 90))
    path = tmp_path / "sparse" / "0" / file
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(InputError, match=file):
        list(open_dataset("colmap", tmp_path))


@pytest.mark.parametrize("name", DATASETS)
def test_a_folder_without_the_dataset(name, tmp_path):
    with pytest.raises(InputError, match="holds no sequence of"):
        open_dataset(name, tmp_path)
    with pytest.raises(InputError, match="There is no folder"):
        open_dataset(name, tmp_path / "absent")


def test_unknown_dataset(tmp_path):
    with pytest.raises(InputError, match="choose one of scared, hamlyn"):
        open_dataset("moon", tmp_path)
