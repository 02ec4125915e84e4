"""Before and after on footage without truth: the same companions, another depth."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from endodav.errors import RecipeError
from endodav.training.adaptation.consistency import Pair, consistency_table, open_run, strips
from endodav.training.adaptation.footage import Footage
from endodav.training.adaptation.recipe import (
    AdaptRecipe,
    DataRecipe,
    DepthRecipe,
    ScheduleRecipe,
    WatchRecipe,
)
from endodav.training.adaptation.start import start
from endodav.training.adaptation.trainer import adapt

from .world import narrow

RECIPE = AdaptRecipe(
    name="test",
    data=DataRecipe(size=(34, 34), targets=2),
    depth=DepthRecipe(image_shape=(32, 32)),
    schedule=ScheduleRecipe(steps=2, spatial_steps=1, temporal_steps=1, learning_rate=1e-2),
    watch=WatchRecipe(steps=0, picture_steps=0),
)


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wall that passes by."""
    rng = np.random.default_rng(0)
    wall = rng.integers(40, 220, (5, 9, 3)).repeat(12, 0).repeat(12, 1).astype(np.uint8)
    folder = tmp_path_factory.mktemp("footage")
    for k in range(20):
        Image.fromarray(wall[:48, k : k + 60]).save(folder / f"{k:02d}.png")
    return folder


@pytest.fixture(scope="module")
def run(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("run") / "run"
    with pytest.MonkeyPatch.context() as patch:
        narrow(patch)
        adapt(RECIPE, Footage.open(footage, RECIPE.frames), folder, download=False)
        yield folder


def test_only_depth_differs_between_before_and_after(run: Path) -> None:
    pair = open_run(run)
    base, adapted = pair.base.state_dict(), pair.adapted.state_dict()
    changed = {name for name in base if not torch.equal(base[name], adapted[name])}
    assert changed
    assert all(name.startswith("depth.") and ".adapter." in name for name in changed)


def test_the_table_compares_before_and_after(run: Path, footage: Path) -> None:
    pair = open_run(run)
    held_out = Footage.open(footage, RECIPE.frames, held_out=0.4)
    table = consistency_table(pair, held_out, 3)
    assert table.names == ["base", "adapted"]
    assert [int(name.partition("@")[2]) >= 12 for name in table.videos] == [True] * 3
    base, adapted = (row.scores["photometric"] for row in table.rows)
    assert base.shape == (1, 3)
    assert np.isfinite([base, adapted]).all()
    assert "adapted is" in table.to_markdown()
    pictures = strips(pair, held_out, 2)
    assert [picture.shape[2] for picture in pictures] == [3, 3]


def test_a_folder_without_a_checkpoint_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="give a folder that `endodav adapt`"):
        open_run(tmp_path)


@pytest.mark.usefixtures("narrow_networks")
def test_without_a_camera_network_the_unit_of_depth_does_not_matter(footage: Path) -> None:
    recipe = RECIPE.model_copy(update={"camera": "direct"})
    base = start(recipe, download=False).networks.eval()
    adapted = deepcopy(base)
    adapted.unit *= 2
    table = consistency_table(
        Pair(recipe, base, adapted), Footage.open(footage, recipe.frames), clips=2
    )
    before, after = (row.scores for row in table.rows)
    for name in before:
        np.testing.assert_allclose(before[name], after[name], rtol=0.05)
