"""Runs: resumed is uninterrupted, what is kept can be used, what is bad is skipped."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from endodav.errors import RecipeError
from endodav.training.adaptation import trainer
from endodav.training.adaptation.batch import VideoBatch
from endodav.training.adaptation.footage import Footage, Video
from endodav.training.adaptation.recipe import (
    AdaptRecipe,
    DataRecipe,
    DepthRecipe,
    ScheduleRecipe,
)
from endodav.training.adaptation.trainer import Adaptation, adapt
from endodav.video.roi import Whole
from endodav.weights.hub import load

RECIPE = AdaptRecipe(
    name="test",
    data=DataRecipe(size=(64, 64), targets=2, clips=1),
    depth=DepthRecipe(image_shape=(28, 28)),
    schedule=ScheduleRecipe(steps=2, spatial_steps=1, temporal_steps=1),
)


@pytest.fixture
def footage(tmp_path: Path) -> Footage:
    rng = np.random.default_rng(0)
    wall = rng.integers(40, 220, (10, 10, 3)).repeat(12, 0).repeat(12, 1).astype(np.uint8)
    folder = tmp_path / "images"
    folder.mkdir()
    for k in range(6):
        Image.fromarray(wall[:80, k : k + 80]).save(folder / f"{k}.png")
    times = tuple(Fraction(k, 25) for k in range(6))
    return Footage([Video(folder, times, (), Whole(), (80, 80))], frames=4)


def test_resumed_is_uninterrupted(footage: Footage, tmp_path: Path) -> None:
    short = RECIPE.model_copy(update={"schedule": RECIPE.schedule.model_copy(update={"steps": 1})})
    whole = adapt(RECIPE, footage, tmp_path / "whole", download=False)
    adapt(short, footage, tmp_path / "parts", download=False)
    parts = adapt(RECIPE, footage, tmp_path / "parts", resume=True, download=False)
    with safe_open(whole, "pt") as a, safe_open(parts, "pt") as b:
        assert a.keys() == b.keys()
        assert len(a.keys()) > 0
        assert all(torch.equal(a.get_tensor(name), b.get_tensor(name)) for name in a.keys())  # noqa: SIM118
        header = a.metadata()
    assert AdaptRecipe.model_validate_json(header["recipe"]) == RECIPE
    assert header["base"] == "endodav-tiny"
    assert len(header["base_sha256"]) == 64
    assert "depth/loss" in json.loads(header["metrics"])
    assert whole.stat().st_size < 500_000
    loaded = load(str(tmp_path / "whole"))  # what `endodav depth --model RUN` does
    assert loaded.preset.family == "endodav"
    with pytest.raises(RecipeError, match="resume"):
        adapt(RECIPE, footage, tmp_path / "whole", download=False)


def test_a_bad_batch_moves_nothing_of_what_it_spoils() -> None:
    run = Adaptation.of(RECIPE, torch.device("cpu"), download=False)
    networks = run.start.networks
    spoilt = [*networks.depth.parameters(), *networks.companions()]
    before = [parameter.detach().clone() for parameter in spoilt]
    frames = torch.rand(1, 4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(1, 4, 1, 64, 64, dtype=torch.bool)
    broken = VideoBatch(frames, frames, valid, intrinsics=torch.full((1, 3, 3), torch.nan))
    run.step(broken)
    assert all(torch.equal(p, old) for p, old in zip(spoilt, before, strict=True))
    assert all(value.isfinite().all() for value in networks.state_dict().values())
    assert (run.progress.step, run.progress.skipped, run.bad_in_a_row) == (1, 1, 1)


def test_a_run_that_is_lost_stops_and_keeps_its_batch(
    footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "MAX_BAD_STEPS", 1)
    monkeypatch.setattr(Adaptation, "_descend", lambda *_: float("nan"))
    with pytest.raises(RecipeError, match="learning rate"):
        adapt(RECIPE, footage, tmp_path / "run", download=False)
    batch = torch.load(tmp_path / "run" / "bad_batch.pt", weights_only=True)
    assert batch["frames"].shape == (1, 4, 3, 64, 64)
