"""Checkpoints of a run: whole or absent, and enough to go on as if nothing had happened.

Nothing random needs saving: batches are a function of seed and step, and the networks draw nothing.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from endodav.errors import PartialInputWarning, RecipeError, WeightsError
from endodav.training.schedule import AveragedWeights

KEEP = 2  # newest checkpoints that stay on disk


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        step: optimiser steps done.
        seconds: time spent training, over all resumptions.
        skipped: steps whose gradient was not finite, so that nothing was learnt.
    """

    step: int = 0
    seconds: float = 0.0
    skipped: int = 0


def save(
    folder: Path,
    progress: Progress,
    model: nn.Module,
    average: AveragedWeights,
    optimisers: Sequence[torch.optim.Optimizer],
) -> None:
    """Write a checkpoint under `folder`, named by its step, and forget the oldest ones."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    save_file(_storable(model.state_dict()), partial / "model.safetensors")
    save_file(_storable(average.state), partial / "average.safetensors")
    torch.save([o.state_dict() for o in optimisers], partial / "optimisers.pt")
    (partial / "progress.json").write_text(json.dumps(asdict(progress)))
    final = folder / f"{progress.step:08d}"
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    for old in _checkpoints(folder)[:-KEEP]:
        shutil.rmtree(old)


def restore(
    folder: Path,
    model: nn.Module,
    average: AveragedWeights,
    optimisers: Sequence[torch.optim.Optimizer],
) -> Progress:
    """Load the newest whole checkpoint under `folder` into the rest, and say how far it had come.

    A damaged one is left out with a `PartialInputWarning`. Where there is none yet, because the run
    was killed before its first, nothing is loaded and the run begins again.

    Raises:
        RecipeError: it is of another architecture.
        WeightsError: all are damaged.
    """
    checkpoints = _checkpoints(folder)
    for path in reversed(checkpoints):
        state = _read(path)
        if state is None:
            warnings.warn(
                f"The checkpoint '{path}' is damaged; it is left out.",
                PartialInputWarning,
                stacklevel=2,
            )
            continue
        try:
            model.load_state_dict(state.model)
        except RuntimeError as error:
            raise RecipeError(
                f"The checkpoint '{path}' does not fit the recipe's preset: train in a new folder."
            ) from error
        average.load(state.average)
        for optimiser, its_state in zip(optimisers, state.optimisers, strict=True):
            optimiser.load_state_dict(its_state)
        return state.progress
    if checkpoints:
        raise WeightsError(f"All checkpoints in '{folder}' are damaged: train in a new folder.")
    return Progress()


class _State(NamedTuple):
    model: dict[str, Tensor]
    average: dict[str, Tensor]
    optimisers: list[dict[str, Any]]
    progress: Progress


def _read(path: Path) -> _State | None:
    """All of a checkpoint, or None where any of it cannot be read."""
    try:
        return _State(
            load_file(path / "model.safetensors"),
            load_file(path / "average.safetensors"),
            torch.load(path / "optimisers.pt", weights_only=True, map_location="cpu"),
            Progress(**json.loads((path / "progress.json").read_text())),
        )
    except Exception:  # whatever a parser finds, it is not what `save` wrote
        return None


def half_precision(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights as they are delivered."""
    return {
        name: value.half() if value.is_floating_point() else value for name, value in state.items()
    }


def _storable(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[0-9]*") if path.is_dir())
