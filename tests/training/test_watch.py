"""What a run is watched on."""

from pathlib import Path

import numpy as np
import pytest

from endodav.data.dataset import Clip
from endodav.data.registry import find_dataset
from endodav.training import run
from endodav.training.recipe import DatasetSource, TrainRecipe
from endodav.training.watch import Watcher


@pytest.mark.usefixtures("small_world")
def test_datasets_are_watched_beside_the_held_out_clips(
    recipe: TrainRecipe, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for number, size in enumerate([(20, 24), (28, 22)]):
        depth = rng.uniform(20, 60, (2, *size)).astype(np.float32)
        images = rng.integers(0, 255, (2, *size, 3), dtype=np.uint8)
        clip = Clip(images, depth, np.tile(np.eye(4), (2, 1, 1)), np.eye(3))
        write = find_dataset("folder").write
        assert write is not None
        write(clip, tmp_path / "data", number)
    source = DatasetSource(kind="dataset", name="folder", path=tmp_path / "data")
    watch = recipe.watch.model_copy(update={"datasets": (source,)})
    watcher = Watcher(recipe.model_copy(update={"watch": watch}), tmp_path / "clips")
    record = watcher.evaluate(run.build(recipe.preset))
    assert record.keys() == {"held_out", "folder"}
    assert record["folder"]["frames"] == 4
    assert 0 < record["folder"]["abs_rel"] < 1
