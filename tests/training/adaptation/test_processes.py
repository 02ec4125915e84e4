"""Runs in processes of their own: killed and resumed, and two that are as good as one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from endodav.training.adaptation.recipe import AdaptRecipe
from endodav.training.adaptation.trainer import adapt
from tests.processes import all_end_well, kill_when, program, torchrun_environments

from .world import RECIPE, changed, wall

pytestmark = pytest.mark.usefixtures("narrow_networks")

DEADLINE = 240.0  # seconds; a busy machine takes its time
PROGRAM = """
import sys
from pathlib import Path
import pytest
from world import narrow, wall
from endodav.training.adaptation.recipe import AdaptRecipe
from endodav.training.adaptation.trainer import adapt

narrow(pytest.MonkeyPatch())
recipe, folder, how = sys.argv[1:]
out = Path(folder)
footage = wall(out.parent / "images", 12)
adapt(AdaptRecipe.model_validate_json(recipe), footage, out, resume=how == "resume")
"""


def start(recipe: AdaptRecipe, folder: Path, how: str = "anew", **environment: str):
    text = recipe.model_dump_json()
    return program(PROGRAM, text, folder, how, beside=Path(__file__), **environment)


def test_killed_and_resumed_is_uninterrupted(tmp_path: Path) -> None:
    recipe = changed(RECIPE, schedule={"steps": 12}, watch={"checkpoint_minutes": 1e-9})
    footage = wall(tmp_path / "images", 12)
    killed = start(recipe, tmp_path / "killed")
    whole = adapt(recipe, footage, tmp_path / "whole")
    kill_when((tmp_path / "killed" / "checkpoint.pt").exists, killed, within=DEADLINE)
    assert not (tmp_path / "killed" / "adapter.safetensors").exists()
    parts = adapt(recipe, footage, tmp_path / "killed", resume=True)
    one, other = load_file(whole), load_file(parts)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert len((tmp_path / "killed" / "history.jsonl").read_text().splitlines()) == 2


def test_two_processes_are_one(tmp_path: Path) -> None:
    """Only sums of floats in another order differ, which Adam's division lets grow with steps."""
    recipe = changed(RECIPE, data={"clips": 2, "clips_at_once": 1}, schedule={"steps": 3})
    footage = wall(tmp_path / "images", 12)
    both = [start(recipe, tmp_path / "two", **each) for each in torchrun_environments(2)]
    adapt(recipe, footage, tmp_path / "one")
    all_end_well(*both, within=DEADLINE)
    assert len((tmp_path / "two" / "log.jsonl").read_text().splitlines()) == 3
    assert len((tmp_path / "two" / "history.jsonl").read_text().splitlines()) == 1
    begun = AdaptRecipe.model_validate(changed(recipe, schedule={"steps": 1}))
    adapt(begun, footage, tmp_path / "begun")
    one, two, first = (
        torch.load(tmp_path / run / "checkpoint.pt", weights_only=True)["networks"]
        for run in ("one", "two", "begun")
    )
    names = [name for name, value in one.items() if value.is_floating_point()]
    moved = torch.cat([(one[name] - first[name]).flatten() for name in names])
    apart = torch.cat([(one[name] - two[name]).flatten() for name in names])
    assert moved.abs().mean() > 0
    assert apart.abs().mean() < 0.01 * moved.abs().mean()
