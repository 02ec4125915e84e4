"""A run that is killed in the middle, in a process of its own, ends in the same weights."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from endodav.training.recipe import TrainRecipe, write_recipe

HERE = Path(__file__).parent
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


def start(recipe: Path, out: Path, how: str = "anew") -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, "-c", PROGRAM, str(recipe), str(out), how]
    return subprocess.Popen(command, env=environment)


def test_killed_and_resumed_is_uninterrupted(recipe: TrainRecipe, tmp_path: Path) -> None:
    always = recipe.watch.model_copy(update={"checkpoint_minutes": 1e-9, "evaluate_steps": 1000})
    recipe = recipe.model_copy(update={"watch": always, "steps": 60})
    file = tmp_path / "small.yaml"
    write_recipe(recipe, file)
    whole = start(file, tmp_path / "whole")
    killed = start(file, tmp_path / "killed")
    deadline = time.monotonic() + DEADLINE
    while not list((tmp_path / "killed").glob("checkpoints/0*")):
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    assert start(file, tmp_path / "killed", "resume").wait(DEADLINE) == 0
    assert whole.wait(DEADLINE) == 0
    one, other = (load_file(tmp_path / run / "model.safetensors") for run in ("whole", "killed"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert len((tmp_path / "killed" / "history.jsonl").read_text().splitlines()) == 2
