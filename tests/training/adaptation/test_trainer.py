"""Runs: resumed is uninterrupted, what is kept can be used, what is bad is skipped."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from endodav.errors import RecipeError
from endodav.inference.estimator import DepthEstimator
from endodav.training.adaptation import trainer
from endodav.training.adaptation.batch import VideoBatch
from endodav.training.adaptation.data import draw_batch
from endodav.training.adaptation.footage import Footage
from endodav.training.adaptation.recipe import AdaptRecipe, LessonsRecipe, read_recipe
from endodav.training.adaptation.run import Adaptation, Best
from endodav.training.adaptation.trainer import adapt
from endodav.training.adaptation.watch import Watcher
from endodav.training.engine import launch
from endodav.weights.hub import load

from .world import RECIPE, changed, wall

pytestmark = pytest.mark.usefixtures("narrow_networks")

WATCHED = changed(
    RECIPE,
    schedule={"steps": 4},
    watch={"steps": 1, "held_out": 0.25, "clips": 2, "picture_steps": 2},
)


DIRECT = RECIPE.model_copy(update={"camera": "direct"})
TAUGHT = RECIPE.model_copy(update={"lessons": LessonsRecipe(steps=2)})


@pytest.fixture
def footage(tmp_path: Path) -> Footage:
    return wall(tmp_path / "images", 6)


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("section", ["data", "lessons"])
def test_clips_that_cannot_be_shared_leave_no_run(
    section: str, footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = changed(TAUGHT, **({"data": {"clips": 2}} | {section: {"clips": 3}}))
    two = SimpleNamespace(rank=0, processes=2)
    monkeypatch.setattr(trainer, "launch", lambda *_: two)
    with pytest.raises(RecipeError, match="cannot be shared by 2 processes"):
        adapt(recipe, footage, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("recipe", [RECIPE, DIRECT, TAUGHT], ids=["network", "direct", "lessons"])
def test_resumed_is_uninterrupted(recipe: AdaptRecipe, footage: Footage, tmp_path: Path) -> None:
    whole = adapt(recipe, footage, tmp_path / "whole")
    adapt(changed(recipe, schedule={"steps": 1}), footage, tmp_path / "parts")
    parts = adapt(recipe, footage, tmp_path / "parts", resume=True)
    one, other = load_file(whole), load_file(parts)
    assert one.keys() == other.keys()
    assert len(one) > 0
    assert all(torch.equal(one[name], other[name]) for name in one)
    steps = [line["step"] for line in lines(tmp_path / "parts")]
    assert steps == list(range(1, recipe.taught + 3))
    with safe_open(whole, "pt") as file:
        header = file.metadata()
    assert AdaptRecipe.model_validate_json(header["recipe"]) == recipe
    assert header["base"] == "endodav-tiny"
    assert len(header["base_sha256"]) == 64
    assert "depth/loss" in json.loads(header["metrics"])
    assert whole.stat().st_size < 500_000
    assert load(str(tmp_path / "whole")).preset.family == "endodav"  # `endodav depth --model RUN`


def test_a_run_is_not_begun_twice_nor_resumed_as_another(footage: Footage, tmp_path: Path) -> None:
    one = changed(RECIPE, schedule={"steps": 1})
    adapt(one, footage, tmp_path)
    with pytest.raises(RecipeError, match="resume"):
        adapt(one, footage, tmp_path)
    with pytest.raises(RecipeError, match="another recipe"):
        adapt(one.model_copy(update={"seed": 5}), footage, tmp_path, resume=True)


def test_a_checkpoint_with_another_optimiser_is_refused(tmp_path: Path) -> None:
    run = Adaptation.of(RECIPE, launch("cpu", "fp32"), download=False)
    run.save(tmp_path / "checkpoint.pt")
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    state["optimiser"]["param_groups"].pop()
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(RecipeError, match="does not fit the recipe"):
        run.restore(tmp_path / "checkpoint.pt")


def test_the_best_weights_are_delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = iter([0.9, 0.3, 0.2, 0.4, 0.5])
    monkeypatch.setattr(
        Watcher,
        "validate",
        lambda *_: {"photometric": next(errors), "depth": 0.0, "loss": 0.0},
    )
    delivered = adapt(WATCHED, wall(tmp_path / "images", 20, 0.25), tmp_path / "run")
    short = changed(WATCHED, schedule={"steps": 2}, watch={"steps": 0})
    until_then = adapt(short, wall(tmp_path / "images", 20, 0.25), tmp_path / "short")
    one, other = load_file(delivered), load_file(until_then)
    assert all(torch.equal(one[name], other[name]) for name in one)
    with safe_open(delivered, "pt") as file:
        header = file.metadata()
    assert header["steps"] == "2"
    assert json.loads(header["metrics"])["photometric"] == 0.2


def test_patience_ends_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = iter([0.9, 0.3, 0.4, 0.5])
    monkeypatch.setattr(
        Watcher,
        "validate",
        lambda *_: {"photometric": next(errors), "depth": 0.0, "loss": 0.0},
    )
    recipe = changed(WATCHED, schedule={"steps": 50}, watch={"patience": 2})
    adapt(recipe, wall(tmp_path / "images", 20, 0.25), tmp_path / "run")
    assert lines(tmp_path / "run")[-1]["step"] == 3
    assert next(errors, None) is None


def test_what_is_not_a_number_is_never_best() -> None:
    assert Best().after(1, float("nan")) == Best(since=1)
    assert Best().after(1, 0.5).after(2, 0.5).since == 1


def test_what_a_run_leaves_behind(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    folder = tmp_path / "run"
    said: list[dict[str, object]] = []
    footage = wall(tmp_path / "images", 20, 0.25)
    adapt(WATCHED, footage, folder, report=said.append, tensorboard=True)
    assert said == lines(folder)
    validations = [line["held_out"] for line in said if "held_out" in line]
    assert len(validations) == 5
    assert all(0 < value["photometric"] < 2 and 0 <= value["depth"] <= 1 for value in validations)
    pictures = {path.name for path in (folder / "pictures").iterdir()}
    assert {"00000002.png", "00000004.png", "before-0.png", "after-0.png"} <= pictures
    text = (folder / "report.md").read_text()
    assert "Photometric error after warping" in text
    assert "pictures/after-0.png" in text
    assert "flow/registration" in (folder / "report.html").read_text()
    assert list((folder / "tensorboard").glob("events.*"))
    assert not list(folder.rglob("*.partial"))


def test_endoufm_and_af_sfm_are_watched_too(tmp_path: Path) -> None:
    footage = wall(tmp_path / "images", 20, 0.25)
    for family, method in (("endoufm", "decomposition"), ("resnet", "registration")):
        content = changed(WATCHED, schedule={"steps": 1}).model_dump()
        content |= {"loss": {"method": method}}
        content["depth"]["family"] = family
        product = adapt(AdaptRecipe.model_validate(content), footage, tmp_path / family)
        assert product.exists()
        assert (tmp_path / family / "report.html").exists()


def test_tensorboard_missing_is_one_sentence(
    footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(RecipeError, match=r"pip install 'endodav\[tensorboard\]'"):
        adapt(RECIPE, footage, tmp_path / "run", tensorboard=True)


def test_a_bad_batch_moves_nothing_of_what_it_spoils() -> None:
    run = Adaptation.of(RECIPE, launch("cpu", "fp32"))
    before = {name: value.clone() for name, value in run.start.networks.state_dict().items()}
    frames = torch.full((1, 4, 3, 64, 64), torch.nan)
    run.step(VideoBatch(frames, frames, torch.ones(1, 4, 1, 64, 64, dtype=torch.bool)))
    for name, value in run.start.networks.state_dict().items():
        assert name.endswith("num_batches_tracked") or torch.equal(value, before[name]), name
    assert (run.progress.step, run.progress.skipped, run.bad_in_a_row) == (1, 1, 1)


def test_a_run_that_is_lost_stops_and_keeps_its_batch(
    footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "MAX_BAD_STEPS", 1)
    monkeypatch.setattr(Adaptation, "_descend", lambda *_: ({}, float("nan")))
    with pytest.raises(RecipeError, match="learning rate"):
        adapt(RECIPE, footage, tmp_path / "run")
    batch = torch.load(tmp_path / "run" / "bad_batch.pt", weights_only=True)
    assert batch["frames"].shape == (1, 4, 3, 64, 64)


@pytest.mark.parametrize("level", [0.0, 0.5])
@pytest.mark.parametrize("recipe", [RECIPE, DIRECT], ids=["network", "direct"])
def test_frames_without_content_or_motion_give_no_nan(recipe: AdaptRecipe, level: float) -> None:
    run = Adaptation.of(recipe, launch("cpu", "fp32"))
    frames = torch.full((1, 4, 3, 64, 64), level)
    batch = VideoBatch(frames, frames, torch.ones(1, 4, 1, 64, 64, dtype=torch.bool))
    for _ in range(2):
        run.step(batch)
    assert run.progress.skipped == 0
    assert all(value.isfinite().all() for value in run.start.networks.state_dict().values())


def test_the_unit_of_the_base_does_not_matter(footage: Footage) -> None:
    def losses(unit: str, gain: float) -> dict[str, float]:
        run = Adaptation.of(
            changed(RECIPE, depth={"unit": unit}), launch("cpu", "fp32"), download=False
        )
        output = run.start.networks.depth.get_submodule("head.output.project")
        with torch.no_grad():
            for parameter in output.parameters():
                parameter.mul_(gain)
        run.settle_unit(footage)
        run.step(draw_batch(footage, run.recipe.data, run.recipe.seed, 0))
        return run.last

    assert losses("median", 1.0) == pytest.approx(losses("median", 2.0**-10), rel=1e-4)
    assert losses("as-released", 1.0) != pytest.approx(losses("as-released", 2.0**-10), rel=1e-4)


@pytest.mark.parametrize("name", ["af-sfm", "endodac", "endoufm"])
def test_what_other_recipes_leave_estimates_depth(
    name: str, footage: Footage, tmp_path: Path
) -> None:
    recipe = read_recipe(name, steps=1, lessons=0)
    depth = {} if recipe.depth.family == "resnet" else {"image_shape": (32, 32)}
    small = changed(
        recipe,
        data={"size": (64, 64), "targets": 2},
        depth=depth,
        schedule={"spatial_steps": 1, "warm_up_steps": 0},
        watch={"steps": 0, "clips": 1},
    )
    adapt(small, footage, tmp_path / "run")
    estimator = DepthEstimator.from_pretrained(str(tmp_path / "run"), precision="fp32")
    maps = list(estimator.run(tmp_path / "images"))
    assert len(maps) == 6
    assert all(frame.values.shape == (80, 80) for frame in maps)
    assert all(np.isfinite(frame.values).all() and frame.values.std() > 0 for frame in maps)
