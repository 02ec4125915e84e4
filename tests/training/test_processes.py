"""Runs in processes of their own: one that is killed in the middle, and two that work together."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from endodav.training.data import Batches
from endodav.training.engine import launch
from endodav.training.optimiser import set_rate
from endodav.training.recipe import TrainRecipe, write_recipe
from endodav.training.run import Run
from endodav.training.schedule import learning_rate
from endodav.training.steps import training_losses
from tests.processes import all_end_well, kill_when, program, torchrun_environments

DEADLINE = 120.0  # seconds; a busy machine takes its time
PROGRAM = """
import sys
from pathlib import Path
from conftest import Conv, render
from endodav.training import clips, run, start, trainer
from endodav.training.recipe import read_recipe

clips.render_clip = render
run.build = start.build = lambda preset: Conv()
recipe, out, resume = sys.argv[1:]
trainer.train(read_recipe(recipe), Path(out), resume=resume == "resume")
"""


def start(recipe: Path, out: Path, how: str = "anew", **environment: str) -> subprocess.Popen[str]:
    return program(PROGRAM, recipe, out, how, beside=Path(__file__), **environment)


def test_killed_and_resumed_is_uninterrupted(recipe: TrainRecipe, tmp_path: Path) -> None:
    always = recipe.watch.model_copy(update={"checkpoint_minutes": 1e-9, "evaluate_steps": 1000})
    recipe = recipe.model_copy(update={"watch": always, "steps": 60})
    file = tmp_path / "small.yaml"
    write_recipe(recipe, file)
    whole = start(file, tmp_path / "whole")
    killed = start(file, tmp_path / "killed")
    kill_when(lambda: list((tmp_path / "killed").glob("checkpoints/0*")), killed, within=DEADLINE)
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    all_end_well(start(file, tmp_path / "killed", "resume"), whole, within=DEADLINE)
    one, other = (load_file(tmp_path / run / "model.safetensors") for run in ("whole", "killed"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert len((tmp_path / "killed" / "history.jsonl").read_text().splitlines()) == 2


@pytest.mark.usefixtures("small_world")
def test_two_processes_follow_the_mean_of_their_gradients(
    recipe: TrainRecipe, tmp_path: Path
) -> None:
    file = tmp_path / "small.yaml"
    write_recipe(recipe, file)
    both = [start(file, tmp_path / "two", **each) for each in torchrun_environments(2)]
    run = Run.of(recipe, tmp_path, launch("cpu", "fp32"))
    drawn = [Batches(recipe, tmp_path / "clips", process) for process in range(2)]
    for step in range(recipe.steps):
        set_rate(run.optimisers, learning_rate(recipe.optimiser, step, step / recipe.steps))
        run.model.zero_grad()
        for batch in (batches[step] for batches in drawn):
            (training_losses(run.model, batch, recipe.loss).total / 2).backward()
        nn.utils.clip_grad_norm_(run.model.parameters(), recipe.optimiser.max_gradient_norm)
        for optimiser in run.optimisers:
            optimiser.step()
        run.average.update(run.model, step)
    all_end_well(*both, within=DEADLINE)
    two = load_file(tmp_path / "two" / "model.safetensors")
    for name, value in run.average.state.items():
        torch.testing.assert_close(two[name].float(), value, rtol=2e-3, atol=1e-4)
    lines = (tmp_path / "two" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5, 6, 6, *range(7, 13), 12]
    assert len((tmp_path / "two" / "history.jsonl").read_text().splitlines()) == 1


@pytest.mark.usefixtures("small_world")
def test_processes_see_other_frames_of_one_size(recipe: TrainRecipe, tmp_path: Path) -> None:
    one, other = (Batches(recipe, tmp_path, process)[3].clips.images for process in range(2))
    assert one.shape == other.shape
    assert not torch.equal(one, other)
