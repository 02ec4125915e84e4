"""The loop: it learns, it resumes exactly, and it ends in a file that can be used."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from endodav.errors import OutputError, RecipeError
from endodav.models.depth import build
from endodav.models.presets import PRESETS
from endodav.training import optimiser, start, trainer
from endodav.training import run as run_module
from endodav.training.data import Batch, Samples
from endodav.training.recipe import (
    LossRecipe,
    OptimiserRecipe,
    TrainRecipe,
    WatchRecipe,
)
from endodav.training.schedule import AveragedWeights, learning_rate
from endodav.training.steps import training_losses
from endodav.training.trainer import train

CLOCK = ("seconds", "utilisation")


def records(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def load_conv(folder: str) -> SimpleNamespace:
    """What `weights.hub.load` gives, of a run of the small world."""
    model = start.build(PRESETS["endodav-tiny"])
    model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return SimpleNamespace(model=model, preset=PRESETS["endodav-tiny"])


@pytest.mark.usefixtures("small_world")
class TestTrain:
    def test_learns(self, recipe: TrainRecipe, tmp_path: Path) -> None:
        longer = recipe.model_copy(update={"steps": 120})
        seen: list[dict[str, Any]] = []
        train(longer, tmp_path, progress=seen.append)
        assert seen == records(tmp_path)
        losses = [record["loss"] for record in seen if "loss" in record]
        assert len(losses) == 120
        assert sum(losses[-20:]) < 0.7 * sum(losses[:20])
        evaluations = [record["held_out"] for record in seen if "held_out" in record]
        assert evaluations[-1]["abs_rel"] < 0.2

    @pytest.mark.parametrize("rule", ["adamw", "muon"])
    def test_resumed_is_uninterrupted(
        self, recipe: TrainRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str
    ) -> None:
        monkeypatch.setattr(optimiser, "FEWEST_ROWS", 8)  # so that the small network has a matrix
        chosen = recipe.optimiser.model_copy(update={"rule": rule})
        recipe = recipe.model_copy(update={"optimiser": chosen})
        whole = load_file(train(recipe, tmp_path / "whole"))

        def interrupt(record: dict[str, Any]) -> None:
            if record["step"] == 7:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "parts", progress=interrupt)
        parts = load_file(train(recipe, tmp_path / "parts", resume=True))
        assert whole.keys() == parts.keys()
        assert all(torch.equal(whole[name], parts[name]) for name in whole)
        timeless = [
            [{k: v for k, v in r.items() if k not in CLOCK} for r in records(tmp_path / run)]
            for run in ("whole", "parts")
        ]
        assert timeless[0] == timeless[1]

    @pytest.mark.parametrize("killed_in", [0, 1], ids=["the earlier recipe", "its own"])
    def test_a_recipe_goes_on_from_another(
        self,
        recipe: TrainRecipe,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        killed_in: int,
    ) -> None:
        earlier = recipe.model_copy(update={"name": "earlier", "steps": 5, "seed": 1})
        name = "earlier"
        before = property(lambda later: earlier if later.init == name else None)
        monkeypatch.setattr(TrainRecipe, "before", before)
        monkeypatch.setattr(start, "load", load_conv)
        by_hand = recipe.model_copy(update={"init": str(train(earlier, tmp_path / "a").parent)})
        expected = load_file(train(by_hand, tmp_path / "b"))

        stages: list[int] = []

        def interrupt(record: dict[str, Any]) -> None:
            stages.append(record["step"])
            if record["step"] == 3 and stages.count(3) == killed_in + 1:
                raise KeyboardInterrupt

        after = recipe.model_copy(update={"init": name})
        with pytest.raises(KeyboardInterrupt):
            train(after, tmp_path / "c", progress=interrupt)
        found = load_file(train(after, tmp_path / "c", resume=True))
        assert all(torch.equal(expected[name], found[name]) for name in expected)
        assert records(tmp_path / "c" / "before")[-1]["step"] == 5

    def test_result_is_half_precision_and_says_what_it_is(
        self, recipe: TrainRecipe, tmp_path: Path
    ) -> None:
        path = train(recipe, tmp_path)
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118
        assert metadata["licence"] == "Apache-2.0"
        assert metadata["steps"] == "12"
        known = recipe.model_copy(update={"watch": WatchRecipe()})
        assert TrainRecipe.model_validate_json(metadata["recipe"]) == known

    def test_minutes_end_a_run_that_resumes_to_nothing(
        self, recipe: TrainRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seconds = itertools.count()  # a clock that is a second later whenever it is looked at
        monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
        train(recipe.model_copy(update={"steps": 100_000}), tmp_path, minutes=0.5)
        last = [record for record in records(tmp_path) if "rate" in record][-1]
        assert 0 < last["step"] < 100_000
        assert last["rate"] < 0.2 * recipe.optimiser.learning_rate

    def test_old_checkpoints_are_forgotten(self, recipe: TrainRecipe, tmp_path: Path) -> None:
        watch = recipe.watch.model_copy(update={"checkpoint_minutes": 1e-9})
        train(recipe.model_copy(update={"watch": watch}), tmp_path)
        kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
        assert kept == ["00000011", "00000012"]

    def test_a_bad_batch_does_not_poison_the_weights(
        self, recipe: TrainRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        count = 0

        def now_and_then(*args: Any) -> Any:
            nonlocal count
            count += 1
            losses = training_losses(*args)
            return losses if count % 3 else losses._replace(total=losses.total * float("nan"))

        monkeypatch.setattr(run_module, "training_losses", now_and_then)
        weights = load_file(train(recipe, tmp_path))
        assert all(value.isfinite().all() for value in weights.values())

    def test_a_run_is_not_overwritten(self, recipe: TrainRecipe, tmp_path: Path) -> None:
        train(recipe, tmp_path)
        with pytest.raises(OutputError, match="already holds a run"):
            train(recipe, tmp_path)

    def test_another_recipe_is_not_resumed(self, recipe: TrainRecipe, tmp_path: Path) -> None:
        train(recipe, tmp_path)
        with pytest.raises(RecipeError, match="another recipe"):
            train(recipe.model_copy(update={"seed": 5}), tmp_path, resume=True)

    def test_a_folder_that_cannot_be_is_said(self, recipe: TrainRecipe, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="cannot be written"):
            train(recipe, tmp_path / "file" / "run")

    def test_nothing_is_not_resumed(self, recipe: TrainRecipe, tmp_path: Path) -> None:
        with pytest.raises(RecipeError, match="no run"):
            train(recipe, tmp_path, resume=True)


def test_rate_warms_up_and_falls_to_zero() -> None:
    settings = OptimiserRecipe(learning_rate=1.0, warmup_steps=10)
    rates = [learning_rate(settings, step, step / 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1, rel=0.01)
    assert max(rates) > 0.97
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[100] == pytest.approx(0)


def test_average_forgets_the_start() -> None:
    model = nn.Linear(2, 2)
    average = AveragedWeights(model, decay=0.99)
    nn.init.ones_(model.weight)
    for step in range(50):
        average.update(model, step)
    assert torch.allclose(average.state["weight"], model.weight, atol=0.01)
    assert average.state["weight"] is not model.weight


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_tiny_can_learn_from_its_random_start(autocast: torch.dtype | None) -> None:
    """Its last layer is a ReLU: were it closed everywhere, there would be no gradient."""
    torch.manual_seed(0)
    model = build(PRESETS["endodav-tiny"])

    def samples(count: int, frames: int) -> Samples:
        depth = torch.linspace(0.1, 1, 32).expand(count, frames, 32, 32)
        images = torch.randn(count, frames, 3, 32, 32)
        return Samples(images, depth, torch.ones(depth.shape, dtype=torch.bool))

    losses = training_losses(model, Batch(samples(1, 3), samples(2, 1)), LossRecipe(), autocast)
    assert set(losses.parts) == {
        "clips/spatial", "clips/temporal", "clips/log", "clips/scale",
        "images/spatial", "images/log", "images/scale",
    }  # fmt: skip
    losses.total.backward()
    gradients = [p.grad.abs().max() for p in model.parameters() if p.grad is not None]
    assert max(gradients) > 0
    assert all(gradient.isfinite() for gradient in gradients)
