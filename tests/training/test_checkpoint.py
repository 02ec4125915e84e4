"""Checkpoints that are not whole are left out, in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from endodav.errors import PartialInputWarning, RecipeError, WeightsError
from endodav.training import checkpoint
from endodav.training.checkpoint import Progress
from endodav.training.schedule import AveragedWeights


def parts(width: int = 3) -> tuple[nn.Module, AveragedWeights, list[torch.optim.Optimizer]]:
    model = nn.Linear(2, width)
    return model, AveragedWeights(model, 0.9), [torch.optim.AdamW(model.parameters())]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two checkpoints, of steps 5 and 9."""
    for step in (5, 9):
        checkpoint.save(tmp_path, Progress(step, 1.0), *parts())
    return tmp_path


@pytest.mark.parametrize(
    "file", ["model.safetensors", "average.safetensors", "optimisers.pt", "progress.json"]
)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(folder: Path, file: str) -> None:
    path = folder / "00000009" / file
    path.write_bytes(path.read_bytes()[:20])
    with pytest.warns(PartialInputWarning, match="00000009' is damaged"):
        assert checkpoint.restore(folder, *parts()).step == 5


def test_without_a_whole_one_the_run_is_lost(folder: Path) -> None:
    for step in (5, 9):
        (folder / f"{step:08d}" / "optimisers.pt").unlink()
    with (
        pytest.warns(PartialInputWarning),
        pytest.raises(WeightsError, match="All checkpoints"),
    ):
        checkpoint.restore(folder, *parts())


def test_killed_before_the_first_checkpoint_is_a_new_start(tmp_path: Path) -> None:
    assert checkpoint.restore(tmp_path / "none", *parts()) == Progress()


def test_another_architecture_is_refused(folder: Path) -> None:
    with pytest.raises(RecipeError, match="does not fit the recipe's preset"):
        checkpoint.restore(folder, *parts(width=4))
