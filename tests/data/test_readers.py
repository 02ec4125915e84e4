"""Every reader against samples written without the package."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from endodav.data import DATASETS, Flag, open_dataset
from endodav.data.sequence import LensModel
from endodav.types import Units
from tests.data import samples

ROTATION_DIGITS, PLACE_DIGITS = 1e-6, 1e-3  # of matrices, of millimetres


@pytest.mark.parametrize("name", samples.PUBLISHED)
def test_a_published_sample_is_read(name, tmp_path):
    truth, published = samples.make(name, tmp_path), samples.PUBLISHED[name]
    (sequence,) = open_dataset(name, tmp_path)
    read = list(sequence)
    assert len(read) == len(sequence) == samples.FRAMES
    assert sequence.dataset == name
    times = [sample.timestamp for sample in read]
    assert times[0] == 0
    assert all(a < b for a, b in pairwise(times))
    for k, sample in enumerate(read):
        difference = np.abs(sample.image.astype(int) - truth.images[k])
        assert difference.mean() <= (8 if published.jpeg else 0)
        valid = truth.depth[k] > 0
        if name == "endonerf":
            valid[-4:, -5:] = False  # the tool
        np.testing.assert_array_equal(sample.valid, valid)
        assert not sample.depth[~valid].any()
        error = np.abs(sample.depth - truth.depth[k])[valid]
        assert error.max() <= 0.51 * published.step + 1e-5 * truth.depth.max()
        if published.poses:
            expected = truth.T_world_from_camera[k]
            np.testing.assert_allclose(
                sample.T_world_from_camera[:3, :3], expected[:3, :3], atol=ROTATION_DIGITS
            )
            scale = np.abs(expected[:3, 3]).max()
            np.testing.assert_allclose(
                sample.T_world_from_camera[:3, 3], expected[:3, 3], atol=PLACE_DIGITS * scale
            )
        else:
            assert sample.T_world_from_camera is None
        if published.K:
            np.testing.assert_allclose(sample.intrinsics, truth.K)


def test_every_dataset_with_depth_has_a_sample():
    assert set(DATASETS) - set(samples.PUBLISHED) == {"colmap", "stereomis"}


@pytest.mark.parametrize("binary", [True, False])
def test_colmap_has_depth_at_the_points(binary, tmp_path):
    truth = samples.make_truth(*samples.ENDOSCOPE)
    samples.colmap(tmp_path, truth, binary)
    (sequence,) = open_dataset("colmap", tmp_path)
    assert sequence.units is Units.UP_TO_SCALE
    assert sequence.flags == {Flag.SPARSE}
    for k, sample in enumerate(sequence):
        rows, columns = np.nonzero(sample.valid)
        assert set(rows) == set(range(3, samples.HEIGHT, 3))
        assert set(columns) == set(range(3, samples.WIDTH, 3))
        np.testing.assert_allclose(
            sample.depth[rows, columns], truth.depth[k][rows, columns], rtol=1e-5
        )
        np.testing.assert_allclose(
            sample.T_world_from_camera, truth.T_world_from_camera[k], atol=1e-9
        )
        np.testing.assert_allclose(sample.intrinsics, truth.K)
        assert sample.distortion.coefficients == (0.01, -0.02, 0.0, 0.0)


def test_stereomis_has_left_pictures_and_poses(tmp_path):
    truth = samples.make_truth(*samples.ENDOSCOPE)
    samples.stereomis(tmp_path, truth)
    (sequence,) = open_dataset("stereomis", tmp_path)
    for k, sample in enumerate(sequence):
        np.testing.assert_array_equal(sample.image, truth.images[k])
        assert sample.depth is None
        assert sample.valid is None
        np.testing.assert_allclose(
            sample.T_world_from_camera, truth.T_world_from_camera[k], atol=1e-6
        )
        np.testing.assert_allclose(sample.intrinsics, truth.K)
        assert sample.distortion.coefficients == (0.01, -0.02)


def test_part_of_a_sequence(tmp_path):
    for name in ("folder", "rendered"):  # a video and pictures
        samples.make(name, tmp_path / name)
        (sequence,) = open_dataset(name, tmp_path / name)
        whole = list(sequence)
        (middle,) = sequence.samples(1, 2)
        assert middle.index == 1
        assert middle.timestamp == whole[1].timestamp
        np.testing.assert_array_equal(middle.image, whole[1].image)
        np.testing.assert_array_equal(middle.depth, whole[1].depth)


def test_flags(tmp_path):
    samples.make("scared", tmp_path)
    (sequence,) = open_dataset("scared", tmp_path)
    assert [sample.flags for sample in sequence] == [
        set(),
        {Flag.INTERPOLATED},
        {Flag.INTERPOLATED},
    ]
    (tmp_path / "dataset1").rename(tmp_path / "dataset5")
    (sequence,) = open_dataset("scared", tmp_path)
    assert sequence.flags == {Flag.MISCALIBRATED}


def test_fixed_cameras(tmp_path):
    for name, focal in (("tum", 517.3), ("bonn", 542.822841), ("tartanair", 320.0), ("irs", 480.0)):
        samples.make(name, tmp_path / name)
        (sequence,) = open_dataset(name, tmp_path / name)
        assert sequence.intrinsics[0, 0] == focal


def test_rendered_distortion(tmp_path):
    samples.make("rendered", tmp_path)
    (sequence,) = open_dataset("rendered", tmp_path)
    assert sequence.distortion.model is LensModel.RADIAL_RAYS
    assert sequence.distortion.coefficients == (0.1,)


def test_bonn_markers_are_no_camera_poses(tmp_path):
    samples.make("bonn", tmp_path)
    (sequence,) = open_dataset("bonn", tmp_path)
    assert all(ref.T_world_from_camera is None for ref in sequence.refs)


def test_a_frame_without_tracking_has_no_pose(tmp_path):
    samples.make("scannet", tmp_path)
    (pose,) = tmp_path.rglob("pose/1.txt")
    pose.write_text("-inf -inf -inf -inf\n" * 4)
    (sequence,) = open_dataset("scannet", tmp_path)
    assert [ref.T_world_from_camera is None for ref in sequence.refs] == [False, True, False]


def test_scared_reads_its_own_yaml_where_frames_have_no_calibration(tmp_path):
    truth = samples.make("scared", tmp_path)
    samples.scared_raw(tmp_path / "raw", truth)
    for path in (tmp_path / "dataset1").rglob("*.json"):
        path.unlink()
    (yaml,) = (tmp_path / "raw").rglob("*.yaml")
    yaml.rename(tmp_path / "dataset1" / "keyframe1" / yaml.name)
    (sequence,) = open_dataset("scared", tmp_path)
    np.testing.assert_allclose(sequence.intrinsics, truth.K)
    assert sequence.distortion.coefficients == (0.01, -0.02, 0.0, 0.0, 0.0)
    assert next(iter(sequence)).T_world_from_camera is None


def test_memory_is_that_of_a_frame(tmp_path):
    """A hundred frames of 100 kB each are read in a few frames' worth of memory."""
    samples.make("rendered", tmp_path)
    clip = tmp_path / "clip_000"
    for k in range(100):
        for kind, values in (
            ("images", np.zeros((120, 160, 3), np.uint8)),
            ("depth", np.full((120, 160), 50, np.uint16)),
        ):
            samples._picture(clip / kind / f"{k:05d}.png", values)
    np.savetxt(clip / "poses.txt", np.tile(np.eye(4).ravel(), (100, 1)))
    (sequence,) = open_dataset("rendered", tmp_path)
    tracemalloc.start()
    count = sum(1 for _ in sequence)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 100
    assert peak < 20 * 120 * 160 * 7


def test_hololens_loads(real_data):
    (sequence,) = open_dataset("folder", real_data / "hololens")
    sample = next(iter(sequence))
    assert len(sequence) == 48
    assert sample.image.shape == (360, 540, 3)
    assert 500 < np.median(sample.depth[sample.valid]) < 5000
    assert abs(sample.T_world_from_camera[0, 3] + 3478.2098) < 1e-3
    assert abs(sample.intrinsics[0, 0] - 495.567757) < 1e-4


def test_simcol_sample_loads(real_data):
    (sequence,) = open_dataset("simcol3d", real_data / "simcol3d")
    depths = [sample.depth.max() for sample in sequence]
    assert len(depths) == 10
    assert 20 < max(depths) <= 200
