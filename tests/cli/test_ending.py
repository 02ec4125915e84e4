"""How a run ends early, and in what order it finds out that it cannot begin."""

from __future__ import annotations

import os
import signal
import warnings

import numpy as np
import pytest
from PIL import Image

from endodav.video.sinks.npz import FORMAT


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(np.zeros((28, 42, 3), np.uint8)).save(path)
    return path


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_terminated_run_leaves_nothing(endodav, picture, tmp_path, monkeypatch, name):
    number = getattr(signal, name)
    before = signal.getsignal(number)

    def terminated(*_args: object) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr(FORMAT.writer, "write", terminated)
    try:
        done = endodav("depth", picture, "--out", "o", "--format", "npz", "--input-size", 28)
    finally:
        signal.signal(number, before)
    assert done.code == 128 + number
    assert list((tmp_path / "o").iterdir()) == []


def test_the_input_is_looked_at_before_weights_are_fetched(endodav):
    done = endodav("depth", "missing.mp4", "--model", "video-depth-anything-large")
    assert done.code == 3
    assert "missing.mp4" in done.err


def test_a_warning_is_said_once(capsys):
    from endodav.cli.console import plain_warnings

    with plain_warnings():
        for _ in range(3):
            warnings.warn("seam", stacklevel=1)
        warnings.warn("other", stacklevel=1)
    assert capsys.readouterr().err.split("\n") == ["endodav: seam", "endodav: other", ""]


@pytest.mark.parametrize("size", ["\N{SUPERSCRIPT TWO}x\N{SUPERSCRIPT TWO}", "0x4", "4x"])
def test_an_output_size_that_is_none(endodav, picture, size):
    done = endodav("depth", picture, "--output-size", size)
    assert done.code == 6
    assert "WIDTHxHEIGHT" in done.err


@pytest.mark.parametrize("option", [("--fps", 0), ("--fps", "nan"), ("--seed", -1)])
def test_impossible_clips(endodav, tmp_path, option):
    done = endodav("render", "--out", "r", "--frames", 1, "--height", 8, "--width", 8, *option)
    assert done.code == 2
    assert not (tmp_path / "r").exists()


def test_render_refuses_an_existing_clip_before_rendering(endodav, tmp_path, monkeypatch):
    (tmp_path / "r" / "clip_001").mkdir(parents=True)
    monkeypatch.setattr("endodav.cli.render.render_clip", None)
    done = endodav("render", "--out", "r", "--clips", 2)
    assert done.code == 5
    assert "clip_001 exists" in done.err
