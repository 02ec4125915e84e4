"""From a download to a manifest: whole, resumed, damaged, and never touching the originals."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from endodav.data import Flag, open_dataset
from endodav.data.prepare import prepare
from endodav.data.registry import MANIFEST
from endodav.errors import InputError, OutputError, RecipeError
from tests.data import samples

FIXED_CAMERAS = {"tum", "bonn", "nyuv2", "tartanair", "irs"}


def state(root: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def raw(tmp_path):
    """A keyframe as downloaded, and what it says."""
    truth = samples.make_truth(*samples.ENDOSCOPE)
    samples.scared_raw(tmp_path / "raw", truth)
    return tmp_path / "raw", truth


@pytest.mark.parametrize("name", samples.PUBLISHED)
def test_a_whole_dataset_is_complete(name, tmp_path):
    samples.make(name, tmp_path / "root")
    before = state(tmp_path / "root")
    manifest = prepare(name, tmp_path / "root", tmp_path / "out")
    problems = manifest["problems"]
    if name in FIXED_CAMERAS:  # which the tiny pictures do not fit, and that is noticed
        assert "intrinsics that do not fit" in problems.pop()
    assert problems == []
    (sequence,) = manifest["sequences"]
    assert sequence["frames"] == sequence["frames_read"] == samples.FRAMES
    assert (sequence["height"], sequence["width"]) == (samples.HEIGHT, samples.WIDTH)
    assert 0.5 < sequence["depth"]["share_known"] < 1
    assert state(tmp_path / "root") == before
    for entry in sequence["files"]:
        content = (Path(manifest["data"]) / entry["file"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert entry["bytes"] == len(content)
    stored = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert stored["sequences"] == manifest["sequences"]
    assert stored["complete"] == (name not in FIXED_CAMERAS)
    (read,) = open_dataset(name, tmp_path / "out")  # the manifest leads to the data
    assert len(read) == samples.FRAMES


def check_unpacked(out: Path, truth: samples.Truth) -> None:
    (sequence,) = open_dataset("scared", out)
    assert sequence.name == "dataset4/keyframe2"
    assert Flag.MISCALIBRATED in sequence.flags
    assert sequence.distortion.coefficients == (0.01, -0.02, 0, 0, 0)
    for k, sample in enumerate(sequence):
        np.testing.assert_array_equal(sample.image, truth.images[k])
        np.testing.assert_array_equal(sample.depth, truth.depth[k])
        np.testing.assert_allclose(
            sample.T_world_from_camera, truth.T_world_from_camera[k], atol=1e-9
        )
        right = out / "dataset4" / "keyframe2" / "data" / "right" / f"{k + 1:010d}.png"
        np.testing.assert_array_equal(np.asarray(Image.open(right)), 255 - truth.images[k])


def test_scared_folders_are_unpacked(raw, tmp_path):
    root, truth = raw
    before = state(root)
    manifest = prepare("scared", root, tmp_path / "out")
    assert manifest["problems"] == []
    check_unpacked(tmp_path / "out", truth)
    assert state(root) == before
    split = manifest["splits"]["frames-train"]
    assert (split["frames"], split["frames_here"]) == (15351, 2)  # frames 2 and 3 of this keyframe
    assert "dataset4/keyframe2" not in split["missing_sequences"]


@pytest.mark.parametrize("prefix", ["", "dataset_4/"])
def test_scared_zips_are_unpacked(raw, tmp_path, prefix):
    root, truth = raw
    (tmp_path / "zips").mkdir()
    with zipfile.ZipFile(tmp_path / "zips" / "dataset_4.zip", "w") as archive:
        for path in (root / "dataset_4").rglob("*"):
            archive.write(path, prefix + path.relative_to(root / "dataset_4").as_posix())
    assert prepare("scared", tmp_path / "zips", tmp_path / "out")["complete"]
    check_unpacked(tmp_path / "out", truth)


def test_scared_with_tars_unpacked_by_hand(raw, tmp_path):
    root, truth = raw
    data = root / "dataset_4" / "keyframe_2" / "data"
    for kind in ("frame_data", "scene_points"):
        (data / kind).mkdir()
        shutil.unpack_archive(data / f"{kind}.tar.gz", data / kind, filter="data")
        (data / f"{kind}.tar.gz").unlink()
    assert prepare("scared", root, tmp_path / "out")["complete"]
    check_unpacked(tmp_path / "out", truth)


def test_what_was_done_is_not_done_again(raw, tmp_path):
    root, _ = raw
    first = prepare("scared", root, tmp_path / "out")
    before = state(tmp_path / "out")
    tracked = []

    def track(items, what, total):
        tracked.append(what)
        return items

    assert prepare("scared", root, tmp_path / "out", track=track) == first
    after = state(tmp_path / "out")
    assert tracked == []
    assert {k: v for k, v in after.items() if MANIFEST not in k} == {
        k: v for k, v in before.items() if MANIFEST not in k
    }


def test_an_interrupted_run_is_continued(raw, tmp_path):
    root, truth = raw

    def interrupt(items, what, total):
        for k, item in enumerate(items):
            if k == 4:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        prepare("scared", root, tmp_path / "out", track=interrupt)
    assert not list((tmp_path / "out").rglob("*.png"))
    assert prepare("scared", root, tmp_path / "out")["complete"]
    check_unpacked(tmp_path / "out", truth)


def test_a_changed_file_is_read_again(tmp_path):
    samples.make("rendered", tmp_path / "root")
    prepare("rendered", tmp_path / "root", tmp_path / "out")
    path = tmp_path / "root" / "clip_000" / "depth" / "00001.png"
    Image.fromarray(np.zeros((samples.HEIGHT, samples.WIDTH), np.uint16)).save(path)
    manifest = prepare("rendered", tmp_path / "root", tmp_path / "out")
    assert "1 frames have no valid depth: 00001.png" in manifest["problems"][0]


def test_poses_are_replaced(raw, tmp_path):
    root, truth = raw
    moved = truth.T_world_from_camera.copy()
    moved[:, 0, 3] += 3
    other = samples.Truth(truth.images, truth.depth, moved, truth.K)
    for name, content in samples.frame_data(other).items():
        samples._text(
            tmp_path / "c" / "dataset4/keyframe2/data/frame_data" / name, content.decode()
        )
    manifest = prepare("scared", root, tmp_path / "out", poses=tmp_path / "c")
    assert manifest["complete"]
    assert str(Flag.POSES_OVERRIDDEN) in manifest["sequences"][0]["flags"]
    (sequence,) = open_dataset("scared", tmp_path / "out")
    for k, sample in enumerate(sequence):
        np.testing.assert_allclose(sample.T_world_from_camera, moved[k], atol=1e-9)
    with pytest.raises(RecipeError, match="scared only"):
        prepare("hamlyn", root, tmp_path / "other", poses=tmp_path)


def test_a_cut_off_video_is_named(raw, tmp_path):
    root, _ = raw
    path = root / "dataset_4" / "keyframe_2" / "data" / "rgb.mp4"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match=r"rgb.mp4 cannot be read as a video"):
        prepare("scared", root, tmp_path / "out")


def test_points_that_do_not_fit_the_video_are_named(raw, tmp_path):
    root, _ = raw
    path = root / "dataset_4" / "keyframe_2" / "data" / "scene_points.tar.gz"
    small = samples.float_tiff(np.ones((8, samples.WIDTH, 3), np.float32))
    samples.tar_gz(path, {"scene_points000000.tiff": small})
    with pytest.raises(InputError, match=r"is 8 rows high, but the video has 48"):
        prepare("scared", root, tmp_path / "out")


@pytest.mark.parametrize("kind", ["frame_data", "scene_points"])
def test_a_cut_off_tar_is_named(raw, tmp_path, kind):
    root, _ = raw
    path = root / "dataset_4" / "keyframe_2" / "data" / f"{kind}.tar.gz"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(InputError, match=rf"{kind}.tar.gz is damaged or cut off"):
        prepare("scared", root, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.png"))


def test_one_bad_keyframe_does_not_hide_the_others(raw, tmp_path):
    root, truth = raw
    for number, missing in ((1, "rgb.mp4"), (3, "scene_points.tar.gz"), (4, "frame_data.tar.gz")):
        samples.scared_raw(root, truth, f"dataset_4/keyframe_{number}")
        (root / "dataset_4" / f"keyframe_{number}" / "data" / missing).unlink()
    (root / "dataset_7.zip").write_bytes(b"not a zip")
    manifest = prepare("scared", root, tmp_path / "out")
    assert [sequence["name"] for sequence in manifest["sequences"]] == ["dataset4/keyframe2"]
    problems = "\n".join(manifest["problems"])
    assert "dataset_7.zip is no whole zip" in problems
    assert "dataset4/keyframe1 has no data/rgb.mp4" in problems
    assert "dataset4/keyframe3 has no data/scene_points.tar.gz" in problems
    assert "dataset4/keyframe4 has no data/frame_data.tar.gz" in problems
    assert not manifest["complete"]


def test_numbers_of_frames_that_differ_are_named(raw, tmp_path):
    root, truth = raw
    path = root / "dataset_4" / "keyframe_2" / "data" / "frame_data.tar.gz"
    entries = samples.frame_data(truth)
    samples.tar_gz(path, dict(list(entries.items())[:2]))
    with pytest.raises(InputError, match=r"3 in data/rgb.mp4, 2 in frame_data, 3 in scene_points"):
        prepare("scared", root, tmp_path / "out")


def spoil_depth(scale):
    def spoil(root):
        for path in (root / "clip_000" / "depth").iterdir():
            codes = np.asarray(Image.open(path)) * scale
            Image.fromarray(codes.astype(np.uint16)).save(path)

    return spoil


def spoil_poses(change):
    def spoil(root):
        path = root / "clip_000" / "poses.txt"
        poses = np.loadtxt(path).reshape(-1, 4, 4)
        np.savetxt(path, change(poses).reshape(-1, 16))

    return spoil


def reflect(poses):
    return poses * [[-1, 1, 1, 1]]


def stretch(poses):
    poses[:, :3, 3] *= 1000
    return poses


def spoil_camera(root):
    (root / "clip_000" / "K.txt").write_text("0.8 0 0.5\n0 1 0.5\n0 0 1\n")


def thin_depth(root):
    codes = np.zeros((samples.HEIGHT, samples.WIDTH), np.uint16)
    codes[5, 5] = 5000
    Image.fromarray(codes).save(root / "clip_000" / "depth" / "00000.png")


def drop_depth(root):
    (root / "clip_000" / "depth" / "00002.png").unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_depth(0.01), "is the unit right"),
        (spoil_poses(reflect), "no rigid motion"),
        (spoil_poses(stretch), "poses and depth differ in unit"),
        (spoil_camera, "intrinsics that do not fit"),
        (thin_depth, "under 1% of their pixels: 00000.png"),
        (drop_depth, "1 frames have no depth file: 00002.png"),
    ],
)
def test_what_is_wrong_is_noticed(spoil, said, tmp_path):
    samples.make("rendered", tmp_path / "root")
    spoil(tmp_path / "root")
    manifest = prepare("rendered", tmp_path / "root", tmp_path / "out")
    assert said in " ".join(manifest["problems"])
    assert not manifest["complete"]


def test_output_inside_the_originals_is_refused(raw):
    root, _ = raw
    with pytest.raises(OutputError, match="lies inside the originals"):
        prepare("scared", root, root / "out")
