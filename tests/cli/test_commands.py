"""The other commands."""

from __future__ import annotations

import json

import numpy as np
import yaml
from PIL import Image


def test_models_lists_every_preset(endodav):
    from endodav.models.presets import PRESETS

    rows = {row["name"]: row for row in json.loads(endodav("models", "--json").out)}
    assert list(rows) == list(PRESETS)
    assert rows["endodav-tiny"]["available"]
    assert rows["endodav-tiny"]["licence"] == "Apache-2.0"


def test_models_is_a_table_for_people(endodav, monkeypatch):
    from endodav.models.presets import PRESETS
    from endodav.weights import catalogue

    monkeypatch.setattr(catalogue, "PRESETS", {"endodav-tiny": PRESETS["endodav-tiny"]})
    done = endodav("models")
    assert done.code == 0
    assert "endodav-tiny" in done.out
    assert "Apache-2.0" in done.out


def test_info_of_something_else(endodav, tmp_path):
    (tmp_path / "x.npz").write_bytes(b"nothing")
    done = endodav("info", "x.npz")
    assert done.code == 3
    assert "endodav: " in done.err


def test_render_writes_ground_truth(endodav, tmp_path):
    size = ("--height", 28, "--width", 42)
    done = endodav("render", "--out", "r", "--clips", 2, "--frames", 3, *size, "--scene", "colon")
    assert done.code == 0, done.err
    for clip in ("clip_000", "clip_001"):
        with Image.open(tmp_path / "r" / clip / "depth" / "00002.png") as depth:
            assert depth.size == (42, 28)
        poses = np.loadtxt(tmp_path / "r" / clip / "poses.txt")
        assert poses.shape == (3, 16)


def test_render_refuses_an_unknown_scene(endodav):
    done = endodav("render", "--out", "r", "--scene", "moon")
    assert done.code == 6
    assert "colon" in done.err


def test_train_and_use_the_run(endodav, tmp_path):
    from endodav.training.recipe import read_recipe

    recipe = read_recipe("vda-tiny-images").model_dump(mode="json")
    recipe |= {"steps": 1, "name": "short", "precision": "float32"}
    recipe["clips"] |= {
        "total": 2, "at_start": 2, "frames": 2, "height": 42, "width": 42, "workers": 1
    }  # fmt: skip
    recipe["batch"] |= {"sizes": [[32, 32]], "clip_frames": 2, "lengths": [2], "images": 2}
    recipe["optimiser"] |= {"warmup_steps": 0}
    recipe["watch"] |= {"clips": 1}
    (tmp_path / "short.yaml").write_text(yaml.safe_dump(recipe))
    done = endodav("train", "short.yaml", "--out", "run")
    assert done.code == 0, done.err
    Image.fromarray(np.full((28, 28, 3), 90, np.uint8)).save(tmp_path / "one.png")
    done = endodav("depth", "one.png", "--model", "run", "--out", "o", "--format", "npz")
    assert done.code == 0, done.err


def test_train_names_the_wrong_field(endodav, tmp_path):
    (tmp_path / "bad.yaml").write_text("preset: endodav-tiny\nsteps: -3\n")
    done = endodav("train", "bad.yaml", "--out", "run")
    assert done.code == 6
    assert "steps" in done.err
    assert not (tmp_path / "run").exists()
