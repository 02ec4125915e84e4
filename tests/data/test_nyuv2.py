"""NYU Depth V2's labelled set as published, and the older MATLAB format of its split."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from endodav.data import Flag, open_dataset
from endodav.data.mat5 import read_mat5
from endodav.data.prepare import prepare
from endodav.errors import InputError
from tests.data import samples


@pytest.fixture
def truth() -> samples.Truth:
    return samples.make_truth(*samples.ROOM)


def test_the_labelled_set_is_read_by_its_split(truth: samples.Truth, tmp_path: Path) -> None:
    samples.nyuv2_labelled(tmp_path, truth)
    sequences = {sequence.name: sequence for sequence in open_dataset("nyuv2", tmp_path)}
    assert {name: len(sequence) for name, sequence in sequences.items()} == {"train": 1, "test": 2}
    for k, sample in enumerate(sequences["test"]):
        np.testing.assert_array_equal(sample.image, truth.images[k])
        np.testing.assert_allclose(sample.depth, truth.depth[k], rtol=1e-6)
        np.testing.assert_array_equal(sample.valid, truth.depth[k] > 0)
        assert sample.flags == {Flag.STILLS}
    (last,) = sequences["train"]
    np.testing.assert_array_equal(last.image, truth.images[2])


def test_without_the_split_it_is_one_sequence(truth: samples.Truth, tmp_path: Path) -> None:
    samples.nyuv2_labelled(tmp_path, truth, split=False)
    (sequence,) = open_dataset("nyuv2", tmp_path)
    assert (sequence.name, len(sequence)) == ("labelled", samples.FRAMES)


def test_it_is_prepared_and_found_again(truth: samples.Truth, tmp_path: Path) -> None:
    samples.nyuv2_labelled(tmp_path / "root", truth)
    manifest = prepare("nyuv2", tmp_path / "root", tmp_path / "out")
    assert [s["frames_read"] for s in manifest["sequences"]] == [1, 2]
    assert [s["files"][0]["file"] for s in manifest["sequences"]] == [
        "nyu_depth_v2_labeled.mat"
    ] * 2
    assert all("intrinsics that do not fit" in problem for problem in manifest["problems"])
    assert "frame 0" in manifest["problems"][0]
    assert len(list(open_dataset("nyuv2", tmp_path / "out"))) == 2


def test_a_download_that_broke_off_is_named(truth: samples.Truth, tmp_path: Path) -> None:
    samples.nyuv2_labelled(tmp_path, truth)
    path = tmp_path / "nyu_depth_v2_labeled.mat"
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(InputError, match=r"labeled.mat cannot be read"):
        list(open_dataset("nyuv2", tmp_path))


def test_a_split_of_other_pictures_is_named(truth: samples.Truth, tmp_path: Path) -> None:
    samples.nyuv2_labelled(tmp_path, truth)
    savemat(tmp_path / "splits.mat", {"trainNdxs": [[1.0]], "testNdxs": [[1449.0]]})
    with pytest.raises(InputError, match=r"splits.mat .* counts to 1449 of 3 pictures"):
        list(open_dataset("nyuv2", tmp_path))


def test_without_h5py_the_command_that_installs_it_is_named(
    truth: samples.Truth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples.nyuv2_labelled(tmp_path, truth)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"pip install 'endodav\[hdf5\]'"):
        list(open_dataset("nyuv2", tmp_path))


@pytest.mark.parametrize("compressed", [True, False])
def test_matlab_arrays_are_read(compressed: bool, tmp_path: Path) -> None:
    arrays = {
        "a_long_name": np.arange(6.0).reshape(2, 3),
        "i": np.array([[1, -2]], np.int16),
        "one": np.array([[7.0]]),
        "f": np.linspace(0, 1, 5, dtype=np.float32)[:, None],
    }
    others = {"text": "words", "cell": np.array([1, "b"], object)}
    savemat(tmp_path / "x.mat", arrays | others, do_compression=compressed)
    found = read_mat5(tmp_path / "x.mat")
    assert set(found) == set(arrays)
    for name, values in arrays.items():
        np.testing.assert_array_equal(found[name], values)


def test_a_damaged_matlab_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    for content, match in (
        (b"words", "header"),
        (b"\0" * 124 + b"\0\1IM" + b"\x0e\0\0", "cut off"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=match):
            read_mat5(path)
    savemat(path, {"a": np.arange(900.0)})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cut off"):
        read_mat5(path)
