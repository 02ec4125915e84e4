"""Checkpoints of a run: whole or absent, and enough to go on as if nothing had happened.

Nothing random needs saving: batches are a function of seed and step, and the networks draw nothing.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from endodav.errors import RecipeError
from endodav.training.schedule import AveragedWeights

KEEP = 2  # newest checkpoints that stay on disk


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        step: optimiser steps done.
        seconds: time spent training, over all resumptions.
    """

    step: int = 0
    seconds: float = 0.0


def save(
    folder: Path,
    progress: Progress,
    model: nn.Module,
    average: AveragedWeights,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write a checkpoint under `folder`, named by its step, and forget the oldest ones."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    save_file(_storable(model.state_dict()), partial / "model.safetensors")
    save_file(_storable(average.state), partial / "average.safetensors")
    torch.save(optimiser.state_dict(), partial / "optimiser.pt")
    (partial / "progress.json").write_text(json.dumps(asdict(progress)))
    final = folder / f"{progress.step:08d}"
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    for old in _checkpoints(folder)[:-KEEP]:
        shutil.rmtree(old)


def restore(
    folder: Path, model: nn.Module, average: AveragedWeights, optimiser: torch.optim.Optimizer
) -> Progress:
    """Load the newest checkpoint under `folder` into the three, and say how far it had come.

    Raises:
        RecipeError: there is none, or it is of another architecture.
    """
    checkpoints = _checkpoints(folder)
    if not checkpoints:
        raise RecipeError(f"There is no checkpoint in '{folder}' to resume from: train without it.")
    newest = checkpoints[-1]
    try:
        model.load_state_dict(load_file(newest / "model.safetensors"))
    except RuntimeError as error:
        raise RecipeError(
            f"The checkpoint '{newest}' does not fit the recipe's preset: train in a new folder."
        ) from error
    average.state = load_file(newest / "average.safetensors")
    optimiser.load_state_dict(torch.load(newest / "optimiser.pt", weights_only=True))
    return Progress(**json.loads((newest / "progress.json").read_text()))


def half_precision(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights as they are delivered."""
    return {
        name: value.half() if value.is_floating_point() else value for name, value in state.items()
    }


def _storable(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[0-9]*") if path.is_dir())
