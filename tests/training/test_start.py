"""What a run begins with, where its clips come from, and what its weights inherit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from endodav.errors import InputError, RecipeError
from endodav.models.depth import build
from endodav.models.presets import PRESETS
from endodav.training import start
from endodav.training.data import Batch, Samples, View
from endodav.training.engine import launch
from endodav.training.recipe import LossRecipe, TrainRecipe, bundled_recipes, read_recipe
from endodav.training.run import Run
from endodav.training.sources import DatasetClips
from endodav.training.start import initial_model, load_teacher, provenance
from endodav.training.steps import training_losses
from endodav.types import Kind
from endodav.weights.runs import describe, save_model

TINY = PRESETS["endodav-tiny"]


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run of the tiny preset with weights of another seed."""
    torch.manual_seed(7)
    save_model(tmp_path / "run" / "model.safetensors", build(TINY), TINY)
    return tmp_path / "run"


def samples(count: int, frames: int, size: int = 32) -> Samples:
    depth = torch.linspace(0.1, 1, size).expand(count, frames, size, size)
    return Samples(torch.randn(count, frames, 3, size, size), depth, torch.ones_like(depth) > 0)


@pytest.mark.parametrize(
    ("freeze", "learning"),
    [
        ("nothing", {"encoder", "head", "motion"}),
        ("encoder", {"head", "motion"}),
        ("spatial", {"motion"}),
    ],
)
def test_a_run_begins_with_the_weights_of_another_and_freezes_parts_of_it(
    run_folder: Path, freeze: str, learning: set[str]
) -> None:
    recipe = TrainRecipe.model_validate({"name": "x", "init": str(run_folder), "freeze": freeze})
    model = initial_model(recipe, Path())
    torch.manual_seed(7)
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), build(TINY).state_dict().values(), strict=True)
    )
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad is (name.split(".")[0] in learning)


def test_a_teacher_is_heard_on_single_images(run_folder: Path) -> None:
    recipe = TrainRecipe.model_validate({"name": "x", "distil": {"teacher": str(run_folder)}})
    assert recipe.distil is not None
    teacher = load_teacher(recipe.distil, torch.device("cpu"))
    images = samples(2, 1).images
    torch.manual_seed(7)
    expected = build(TINY).eval()(images)
    assert torch.allclose(teacher.predict(images), expected, rtol=1e-4, atol=1e-5)
    batch = Batch(samples(1, 2), samples(2, 1))
    losses = training_losses(build(TINY), batch, LossRecipe(), None, teacher)
    assert losses.parts["images/distilled"] > 0
    assert provenance(recipe, Path()).origin.endswith(f"distilled from {run_folder}")


def test_weights_inherit_the_limits_of_what_they_came_from() -> None:
    assert provenance(TrainRecipe(name="own"), Path()) == start.OWN
    theirs = provenance(TrainRecipe(name="x", init="video-depth-anything-large"), Path())
    assert (theirs.licence, theirs.permissive) == ("CC-BY-NC-4.0", False)


@pytest.mark.parametrize("name", [name for name in bundled_recipes() if name.startswith("vda-")])
def test_bundled_recipes_run_when_made_small(
    name: str, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = read_recipe(name)
    narrow = replace(
        PRESETS[recipe.preset],
        encoder=PRESETS["endodav-tiny"].encoder,
        head=PRESETS["endodav-tiny"].head,
    )
    monkeypatch.setattr(start, "PRESETS", {recipe.preset: narrow})
    distil = recipe.distil and recipe.distil.model_copy(update={"teacher": str(run_folder)})
    init = recipe.init if recipe.init == "random" else str(run_folder)
    recipe = recipe.model_copy(update={"init": init, "distil": distil})
    run = Run.of(recipe, tmp_path, launch("cpu", "fp32"))
    record = run.step(Batch(samples(1, 4), samples(2, 1)), 0.0)
    assert torch.as_tensor(record["loss"]).isfinite()
    assert run.progress.step == 1


def test_a_loss_that_stays_without_value_ends_the_run(tmp_path: Path) -> None:
    recipe = TrainRecipe.model_validate({"name": "x", "optimiser": {"max_skipped": 2}})
    run = Run.of(recipe, tmp_path, launch("cpu", "fp32"))
    bad = samples(1, 1)
    bad = bad._replace(images=bad.images * float("nan"))
    run.step(Batch(bad, None), 0.0)
    assert run.progress.skipped == 1
    with pytest.raises(RecipeError, match=r"2 steps in a row.*bad_batch\.pt"):
        run.step(Batch(bad, None), 0.0)
    saved = torch.load(tmp_path / "bad_batch.pt", weights_only=True)
    assert saved[0]["images"].isnan().all()


def write_sequence(folder: Path, frames: int, with_depth: tuple[int, ...]) -> None:
    (folder / "images").mkdir(parents=True)
    (folder / "depth").mkdir()
    (folder / "meta.json").write_text('{"depth_unit_mm": 0.01}')
    for number in range(frames):
        image = np.full((20, 24, 3), 10 * number, np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{number:05d}.png")
        if number in with_depth:
            depth = np.full((20, 24), 1000 + number, np.uint16)
            Image.fromarray(depth).save(folder / "depth" / f"{number:05d}.png")


def test_frames_without_depth_are_not_valid(tmp_path: Path) -> None:
    write_sequence(tmp_path / "a", 9, with_depth=(0, 2, 8))
    clips = DatasetClips("rendered", tmp_path, 3)
    assert len(clips) == 2  # frames 3 to 5 have no depth at all
    assert clips[0].valid.all(axis=(1, 2)).tolist() == [True, False, True]
    assert clips[0].depth[2, 0, 0] == pytest.approx(10.02)
    assert clips[1].images[0, 0, 0, 0] == 60


def test_a_sequence_without_depth_is_refused_by_name(tmp_path: Path) -> None:
    write_sequence(tmp_path / "good", 2, with_depth=(0,))
    write_sequence(tmp_path / "sadly", 2, with_depth=())
    with pytest.raises(InputError, match="sadly"):
        DatasetClips("rendered", tmp_path, 2)


@pytest.mark.parametrize("view", [View(t, u, m) for t in (0, 1) for u in (0, 1) for m in (0, 1)])
def test_a_flow_turns_with_its_frames(view: View) -> None:
    here = np.zeros((1, 6, 8, 1))
    here[0, 2, 3] = 1
    there = np.roll(here, (1, 2), axis=(1, 2))
    flow = np.broadcast_to([2.0, 1.0], (1, 6, 8, 2))
    (_, row, column, _), (_, to_row, to_column, _) = (
        np.argwhere(view(x))[0] for x in (here, there)
    )
    assert view.flow(flow)[0, row, column].tolist() == [to_column - column, to_row - row]


def test_the_kind_of_a_metric_teacher_is_inverted() -> None:
    metric = replace(TINY, kind=Kind.DEPTH)
    model = torch.nn.Module()
    model.predict_clip = lambda images: images[:, 0] * 0 + 4  # type: ignore[assignment]
    loaded = start.LoadedModel(model, metric, describe(metric, "metric", ""))
    assert torch.allclose(start._inverse_depth(loaded, samples(1, 1).images[0]), torch.tensor(0.25))
