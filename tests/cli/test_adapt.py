"""`endodav adapt` and `endodav masks` from the command line."""

import json

import numpy as np
import pytest
from PIL import Image

from endodav.cli import adapt as adapt_command
from endodav.models import flow, pose, resnet
from endodav.synthetic import render_clip, write_video
from endodav.training.adaptation import start


@pytest.fixture
def footage(tmp_path):
    folder = tmp_path / "footage"
    folder.mkdir()
    write_video(render_clip(2, 20, 64, 80, family="colon").images, folder / "a.mp4", 25.0)
    return folder


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Small enough for a test, with companions of a hundredth of their size."""
    for module, name, value in (
        (resnet, "WIDTHS", (8,) * 5),
        (flow, "ENCODER_WIDTHS", (8,) * 5),
        (pose, "ENCODER_WIDTHS", (8,) * 5),
    ):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(start, "imagenet_file", lambda _: None)
    path = tmp_path / "small.yaml"
    path.write_text(
        "data: {size: [64, 64], targets: 2}\n"
        "depth: {image_shape: [32, 32]}\n"
        "schedule: {steps: 2, spatial_steps: 1, temporal_steps: 1, decay_steps: 1}\n"
        "watch: {steps: 1, clips: 1, log_steps: 1}\n"
    )
    return path


def test_a_dry_run_does_one_step_and_leaves_nothing(endodav, footage, recipe, tmp_path):
    done = endodav("adapt", footage, "--out", "run", "--recipe", recipe, "--dry-run")
    assert done.code == 0, done.err
    for said in (
        "a.mp4: 20 frames, 0 cuts, 4 frames held out",
        "scalars",
        "1e-05",
        "1 x 4 x 3 x 64",
    ):
        assert said in done.err
    assert "depth/reprojection" in done.err
    assert "GiB" in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("found", "name"), [(None, "endodav-direct"), ("x.pth", "endodav")])
def test_the_default_recipe_needs_what_is_there(endodav, footage, recipe, monkeypatch, found, name):
    read = adapt_command.read_recipe

    def small(wanted, **more):
        return read(recipe, **more).model_copy(update={"name": wanted})

    monkeypatch.setattr(adapt_command, "imagenet_file", lambda **_: found)
    monkeypatch.setattr(adapt_command, "read_recipe", small)
    done = endodav("adapt", footage, "--out", "run", "--dry-run")
    assert done.code == 0, done.err
    assert f"Recipe: {name} " in done.err


def test_a_run_is_watched_resumed_and_used(endodav, footage, recipe, tmp_path):
    done = endodav("adapt", footage, "--out", "run", "--recipe", recipe)
    assert done.code == 0, done.err
    assert "step 2 of 2" in done.err
    assert "held out: photometric" in done.err
    assert (tmp_path / "run" / "report.html").exists()
    assert "Photometric error: adapted is" in done.err
    assert "% below base" in (tmp_path / "run" / "consistency.md").read_text()
    again = endodav("adapt", footage, "--out", "run", "--resume", "--steps", 3, "--quiet")
    assert again.code == 0, again.err
    assert "reprojection" not in again.err
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 3


def test_lessons_come_first_without_imagenet_weights(endodav, footage, recipe, tmp_path):
    done = endodav(
        "adapt", footage, "--out", "run", "--recipe", recipe, "--lessons", 1, "--steps", 1
    )
    assert done.code == 0, done.err
    assert "1 lessons of the camera network come first" in done.err
    assert "step 2 of 2" in done.err
    first = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[1])
    assert "lesson/motion" in first


def test_a_dry_run_counts_the_lessons(endodav, footage, recipe):
    done = endodav(
        "adapt", footage, "--out", "run", "--recipe", recipe, "--lessons", 7, "--dry-run"
    )
    assert done.code == 0, done.err
    assert "for 7 lessons (" in done.err
    assert " s each) and 2 steps" in done.err


def test_lessons_that_nobody_needs_are_said_to_be_left_out(
    endodav, footage, recipe, monkeypatch, tmp_path
):
    monkeypatch.setattr(adapt_command, "imagenet_file", lambda **_: tmp_path / "resnet18.pth")
    done = endodav(
        "adapt", footage, "--out", "run", "--recipe", recipe, "--lessons", 1, "--steps", 1
    )
    assert done.code == 0, done.err
    assert "the camera network takes no lessons" in done.err
    assert "step 1 of 1" in done.err


def test_a_base_of_another_architecture_is_one_sentence(endodav, footage, recipe):
    done = endodav(
        "adapt", footage, "--out", "run", "--recipe", recipe, "--base", "endodac-vits", "--dry-run"
    )
    assert done.code in (4, 6)
    assert "endodac" in done.err
    assert "bug" not in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--roi", "oval:1,2"), "oval"),
        (("--recipe", "nothing"), "endoufm"),
        (("--precision", "fp16", "--device", "cpu"), "CUDA only"),
        (("--precision", "fp8"), "bf16"),
    ],
)
def test_what_cannot_be_is_one_sentence(endodav, footage, options, said):
    done = endodav("adapt", footage, "--out", "run", "--dry-run", *options)
    assert done.code == 6
    assert said in done.err


def test_no_footage_is_one_sentence(endodav, tmp_path):
    done = endodav("adapt", tmp_path / "none", "--out", "run", "--dry-run")
    assert done.code == 3
    assert "none" in done.err


def test_masks_are_label_images(endodav, footage, tmp_path):
    pytest.importorskip("skimage")
    done = endodav("masks", footage / "a.mp4", "--out", "labels", "--max-frames", 2, "--quiet")
    assert done.code == 0, done.err
    labels = sorted((tmp_path / "labels").iterdir())
    assert len(labels) == 2
    assert len(np.unique(np.asarray(Image.open(labels[0])))) > 1
