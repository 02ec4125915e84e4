"""`endodav depth`: what it writes, and one clear sentence for everything a user can get wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

SMALL = ("--input-size", 28)  # of the network's input: these tests are about files, not depth


@pytest.fixture
def video(tmp_path: Path, make_video: Callable[..., np.ndarray]) -> Path:
    """Twelve frames of 64x48 at 25 frames/s."""
    path = tmp_path / "clip.mp4"
    make_video(path, count=12)
    return path


def left_over(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.name.startswith(".")]


def test_npz_holds_what_is_promised(endodav, video, tmp_path):
    done = endodav("depth", video, "--out", "o", "--format", "npz", *SMALL)
    assert done.code == 0, done.err
    with np.load(tmp_path / "o/depth.npz", allow_pickle=False) as stored:
        assert stored["inverse_depth"].shape == (12, 48, 64)
        assert stored["inverse_depth"].dtype == np.float32
        assert stored["inverse_depth"].min() >= 0
        np.testing.assert_allclose(stored["timestamps"], np.arange(12) / 25)
        meta = json.loads(str(stored["meta"]))
    assert meta["kind"] == "inverse_depth"
    assert meta["units"] == "affine-invariant"
    assert meta["model"] == "endodav-tiny"
    assert meta["licence"] == "Apache-2.0"
    assert len(meta["weights_sha256"]) == 64
    assert meta["source"] == "clip.mp4"
    assert not left_over(tmp_path / "o")


def test_every_format_in_one_run(endodav, video, tmp_path):
    formats = "video,ffv1,png16,exr,npz,zarr"
    done = endodav("depth", video, "--out", "o", "--format", formats, "--json", *SMALL)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["frames"] == 12
    assert len(report["outputs"]) == 6
    for path in report["outputs"]:
        assert (tmp_path / path).exists()
        info = endodav("info", path, "--json")
        assert info.code == 0, info.err
        said = json.loads(info.out)
        assert said["kind"] == "inverse_depth"
        assert said["weights_sha256"] == report["weights_sha256"]
        assert [Fraction(t) for t in said["timestamps"]] == [Fraction(k, 25) for k in range(12)]


def test_the_same_command_gives_the_same_bytes(endodav, video, tmp_path):
    for out in ("a", "b"):
        assert endodav("depth", video, "--out", out, "--format", "png16", *SMALL).code == 0
    first, second = (sorted((tmp_path / out / "depth_png16").glob("*.png")) for out in "ab")
    assert len(first) == 12
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_part_rate_size_and_streaming(endodav, video, tmp_path):
    options = ("--start", 0.1, "--end", 0.4, "--fps", 50, "--output-size", "20x10", "--streaming")
    done = endodav("depth", video, "--out", "o", "--format", "npz", *options, *SMALL)
    assert done.code == 0, done.err
    with np.load(tmp_path / "o/depth.npz") as stored:
        assert stored["inverse_depth"].shape[1:] == (10, 20)
        assert np.allclose(np.diff(stored["timestamps"]), 1 / 50)
        assert stored["timestamps"][0] >= 0.1
        assert stored["timestamps"][-1] < 0.4


def test_quiet_says_nothing(endodav, video):
    endodav("depth", video, "--out", "a", *SMALL)  # the licence is announced once
    done = endodav("depth", video, "--out", "b", "--quiet", *SMALL)
    assert (done.code, done.out, done.err) == (0, "", "")


def test_one_frame(endodav, tmp_path):
    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(tmp_path / "one.png")
    done = endodav("depth", "one.png", "--out", "o", "--format", "npz,video", *SMALL)
    assert done.code == 0, done.err
    with np.load(tmp_path / "o/depth.npz") as stored:
        assert stored["inverse_depth"].shape == (1, 40, 50)


@pytest.mark.parametrize("size", [(2, 2), (4320, 7680)], ids=["2x2", "8K"])
def test_extreme_sizes(endodav, tmp_path, size):
    Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(tmp_path / "frame.png")
    done = endodav("depth", "frame.png", "--out", "o", "--format", "png16", *SMALL)
    assert done.code == 0, done.err
    with Image.open(tmp_path / "o/depth_png16/frame_000000.png") as written:
        assert written.size == size[::-1]


def test_truncated_video_is_delivered_as_far_as_it_goes(endodav, tmp_path, make_video):
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), dtype=np.uint8)
    whole = tmp_path / "whole.mkv"
    make_video(whole, noise, codec="mjpeg")
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    done = endodav("depth", cut, "--out", "o", "--format", "npz", *SMALL)
    assert done.code == 7, done.err
    assert "of about 40 frames" in done.err
    with np.load(tmp_path / "o/depth.npz") as stored:
        assert 10 <= len(stored["inverse_depth"]) < 40


def audio_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


BAD_INPUTS = {
    "missing.mp4": None,
    "text.mp4": lambda path: path.write_text("this is not a video\n" * 50),
    "empty.mp4": lambda path: path.write_bytes(b""),
    "sound.wav": audio_only,
    "empty_folder": lambda path: path.mkdir(),
    "nothing_*.png": None,
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_input_is_one_sentence(endodav, tmp_path, name):
    make = BAD_INPUTS[name]
    if make is not None:
        make(tmp_path / name)
    done = endodav("depth", name, "--out", "o")
    assert done.code == 3
    assert_one_sentence(done.err)
    assert not list((tmp_path / "o").glob("*")) if (tmp_path / "o").exists() else True


def test_unknown_model(endodav, video):
    done = endodav("depth", video, "--model", "endodav-tinny", "--out", "o")
    assert done.code == 4
    assert "endodav-tiny" in done.err
    assert_one_sentence(done.err)


def test_weights_that_are_none(endodav, video, tmp_path):
    (tmp_path / "w.pth").write_bytes(b"<html>not found</html>")
    done = endodav("depth", video, "--weights", "w.pth", "--out", "o")
    assert done.code == 4
    assert_one_sentence(done.err)


def test_permissive_only_refuses_before_any_download(endodav, video):
    model = "video-depth-anything-large"
    done = endodav("depth", video, "--model", model, "--permissive-only", "--out", "o")
    assert done.code == 4
    assert "CC-BY-NC-4.0" in done.err


def test_output_that_cannot_be_written(endodav, video, tmp_path):
    (tmp_path / "file").write_text("")
    done = endodav("depth", video, "--out", "file")
    assert done.code == 5
    assert_one_sentence(done.err)


def test_results_are_not_replaced_unasked(endodav, video):
    assert endodav("depth", video, "--out", "o", "--format", "npz", *SMALL).code == 0
    done = endodav("depth", video, "--out", "o", "--format", "npz", *SMALL)
    assert done.code == 5
    assert "--overwrite" in done.err
    done = endodav("depth", video, "--out", "o", "--format", "npz", "--overwrite", *SMALL)
    assert done.code == 0


def test_full_disk_leaves_nothing_behind(endodav, video, tmp_path, monkeypatch):
    import errno

    from endodav.video.sinks import npz

    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(npz.NpzWriter, "write", full)
    done = endodav("depth", video, "--out", "o", "--format", "npz,png16", *SMALL)
    assert done.code == 5
    assert_one_sentence(done.err)
    assert "depth.npz" in done.err
    assert not list((tmp_path / "o").iterdir())


def test_interrupt_leaves_nothing_behind(endodav, video, tmp_path, monkeypatch):
    from endodav.video.sinks import npz

    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(npz.NpzWriter, "write", interrupt)
    done = endodav("depth", video, "--out", "o", "--format", "npz,video", *SMALL)
    assert done.code == 130
    assert not list((tmp_path / "o").iterdir())


@pytest.mark.parametrize(
    "options",
    [
        ("--strategy", "nonsense"),
        ("--window", 999),
        ("--window", 8, "--overlap", 9),
        ("--output-size", "big"),
        ("--output-size", "0x5"),
        ("--device", "abacus"),
        ("--streaming", "--window", 8),
        ("--fps", -5),
        ("--start", 5, "--end", 2),
        ("--input-size", 0),
    ],
    ids=lambda options: " ".join(map(str, options)),
)
def test_impossible_options(endodav, video, options):
    done = endodav("depth", video, "--out", "o", *options)
    assert done.code in (3, 6), done.err
    assert_one_sentence(done.err)


def test_unknown_format(endodav, video):
    done = endodav("depth", video, "--out", "o", "--format", "npz,jpeg2000")
    assert done.code == 5
    assert "jpeg2000" in done.err
    assert "png16" in done.err


def test_wrong_usage(endodav):
    assert endodav("depth").code == 2
    assert endodav("depht").code == 2


def assert_one_sentence(text: str) -> None:
    assert "Traceback" not in text
    sentence = text[text.rindex("endodav: ") :]
    assert sentence.endswith((".", ")", "?")), sentence
    assert len(sentence) < 400
