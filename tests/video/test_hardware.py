"""Decoding by hardware: what is asked for by name is there or is told; "auto" never fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from endodav.errors import RecipeError
from endodav.video import decode
from endodav.video.source import open_source


@pytest.fixture
def clip(tmp_path: Path, make_video) -> Path:
    path = tmp_path / "clip.mp4"
    make_video(path, count=3)
    return path


def test_auto_gives_the_same_frames_where_there_is_no_hardware(clip, monkeypatch):
    monkeypatch.setattr(decode, "_can_decode", lambda *_: False)
    frames = {}
    for wanted in ("none", "auto"):
        with open_source(clip, hwaccel=wanted) as source:
            frames[wanted] = [frame.image for frame in source]
    assert len(frames["auto"]) == 3
    assert np.array_equal(frames["none"], frames["auto"])


def test_auto_takes_the_first_that_can(clip, monkeypatch):
    monkeypatch.setattr(decode, "hwdevices_available", lambda: ["qsv", "cuda", "amf"])
    monkeypatch.setattr(decode, "_can_decode", lambda _, kind: kind != "qsv")
    assert decode.choose_hardware(clip, "auto") == "cuda"
    assert decode.choose_hardware(clip, "amf") == "amf"
    assert decode.choose_hardware(clip, "none") is None
    with pytest.raises(RecipeError, match=r"cannot decode clip.mp4 by qsv"):
        decode.choose_hardware(clip, "qsv")


def test_a_name_that_is_none(clip):
    with pytest.raises(RecipeError, match=r"'gpu' here; choose from auto, none, "):
        open_source(clip, hwaccel="gpu")


def test_the_real_libraries_say_no_in_one_sentence(clip, monkeypatch):
    """FFmpeg is built without this kind, which is how a machine without the hardware looks."""
    monkeypatch.setattr(decode, "hwdevices_available", lambda: ["mediacodec"])
    assert decode.choose_hardware(clip, "auto") is None
    with pytest.raises(RecipeError, match="mediacodec"):
        open_source(clip, hwaccel="mediacodec")


def test_only_files_are_decoded_by_hardware():
    images = np.zeros((2, 8, 8, 3), np.uint8)
    with pytest.raises(RecipeError, match="leave --hwaccel out"):
        open_source(images, hwaccel="cuda")
    with open_source(images, hwaccel="auto") as source:
        assert len(list(source)) == 2
