"""`endodav render` and `endodav render benchmark`."""

from __future__ import annotations

import json

import numpy as np
import pytest

from endodav.cli.render import LAYOUTS
from endodav.data.registry import open_dataset
from endodav.synthetic import FAMILIES, Benchmark, Video

FAMILY = next(iter(FAMILIES))
SIZE = ("--height", 20, "--width", 24)


def test_it_says_how_fast_it_was(endodav):
    done = endodav("render", "--out", "r", "--frames", 2, *SIZE, "--scene", FAMILY)
    assert done.code == 0, done.err
    assert "1 clip(s) of 2 frames in r" in done.err
    assert "frames/s" in done.err


def test_flow_is_written_on_request(endodav, tmp_path):
    done = endodav("render", "--out", "r", "--frames", 3, *SIZE, "--flow", "--quiet")
    assert done.code == 0, done.err
    assert done.err == ""
    clip = tmp_path / "r" / "clip_000"
    with np.load(clip / "flow.npz") as stored:
        assert stored["flow"].shape == (2, 20, 24, 2)
    meta = json.loads((clip / "meta.json").read_text())
    assert "frame t + 1" in meta["flow"]
    assert meta["seed"] == 0


def test_a_place_to_write_is_needed(endodav):
    done = endodav("render", "--frames", 3)
    assert done.code == 2
    assert "--out" in done.err


def test_benchmark_writes_a_manifest(endodav, tmp_path, monkeypatch):
    small = Benchmark("small", (Video("only", FAMILY, 5),), 2, 16, 20, 25.0)
    monkeypatch.setattr("endodav.cli.render.RENDERED", small)
    done = endodav("render", "benchmark", "--out", "b", "--workers", 1)
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "b" / "manifest.json").read_text())["name"] == "small"
    assert "1 videos of 2 frames in b" in done.err


def test_options_of_single_clips_are_not_taken_for_the_benchmark(endodav, tmp_path):
    done = endodav("render", "benchmark", "--frames", 3, "--out", "b")
    assert done.code == 2
    assert "--frames" in done.err
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "rendered"])
def test_every_layout_is_read_back(endodav, tmp_path, layout):
    done = endodav("render", "--out", "r", "--frames", 2, *SIZE, "--layout", layout)
    assert done.code == 0, done.err
    (sequence,) = open_dataset(layout, tmp_path / "r")
    assert [sample.image.shape for sample in sequence] == [(20, 24, 3)] * 2
    again = endodav("render", "--out", "r", "--frames", 2, *SIZE, "--layout", layout)
    assert again.code == 5
    assert "not empty" in again.err


def test_a_layout_that_cannot_be_filled_is_refused(endodav):
    done = endodav("render", "--out", "r", *SIZE, "--layout", "stereomis")
    assert done.code == 6
    assert "stereomis" in done.err
