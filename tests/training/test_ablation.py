"""The ablation of losses: one start, one stream of frames, and only the loss differs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from endodav.data.dataset import Clip
from endodav.data.folder import FOLDER
from endodav.data.registry import open_dataset
from endodav.data.sequence import Sequence as Video
from endodav.errors import RecipeError
from endodav.training import ablation
from endodav.training.ablation import (
    VARIANTS,
    ablation_table,
    start,
    train_from_start,
    with_loss,
    with_steps,
)
from endodav.training.recipe import TrainRecipe, read_recipe

FRAMES = 4


def wall(seed: int, frames: int, height: int, width: int) -> SimpleNamespace:
    """A slanted, textured wall that comes nearer, lit from the camera."""
    rng = np.random.default_rng(seed)
    slope = rng.uniform(5, 20) * np.linspace(-1, 1, width)[None, None]
    depth = 50 + slope - np.arange(frames)[:, None, None] + np.zeros((1, height, 1))
    shade = 255 * depth.min() ** 2 / depth**2
    images = (shade[..., None] * rng.uniform(0.6, 1, (1, height, width, 3))).astype(np.uint8)
    flow = np.ones((frames - 1, height, width, 2), np.float32)
    valid = np.ones(depth.shape, bool)
    return SimpleNamespace(images=images, depth=depth.astype(np.float32), valid=valid, flow=flow)


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> TrainRecipe:
    """The bundled recipe on walls instead of rendered scenes, and much smaller."""
    monkeypatch.setattr(
        "endodav.training.clips.render_clip",
        lambda seed, frames, height, width, *_, **__: wall(seed, frames, height, width),
    )
    torch.set_num_threads(1)
    bundled = read_recipe("ablation")
    clips = {"total": 2, "at_start": 2, "frames": FRAMES, "height": 30, "width": 36, "workers": 0}
    batch = {"sizes": ((32, 32),), "lengths": (FRAMES,), "clip_frames": FRAMES}
    small = {
        "clips": bundled.clips.model_copy(update=clips),
        "batch": bundled.batch.model_copy(update=batch),
    }
    return with_steps(bundled, 2).model_copy(update=small)


@pytest.fixture
def videos(tmp_path: Path) -> list[Video]:
    """One held-out wall on disk."""
    made = wall(99, 6, 28, 36)
    poses = np.tile(np.eye(4), (6, 1, 1))
    K = np.array([[30.0, 0, 18], [0, 30.0, 14], [0, 0, 1]])
    assert FOLDER.write is not None
    FOLDER.write(Clip(made.images, made.depth, poses, K), tmp_path / "data", 0)
    return list(open_dataset("folder", tmp_path / "data"))


def test_the_start_sees_every_frame_by_itself(recipe: TrainRecipe, tmp_path: Path) -> None:
    frames = torch.rand(FRAMES, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        model = start(recipe, tmp_path).eval()
        together = model.predict_clip(frames)
        alone = torch.cat([model.predict_clip(frame[None]) for frame in frames])
    torch.testing.assert_close(together, alone)


def test_training_keeps_the_encoder_and_learns_the_motion_modules(
    recipe: TrainRecipe, tmp_path: Path
) -> None:
    before = start(recipe, tmp_path).state_dict()
    after = train_from_start(recipe, tmp_path).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(name.startswith("encoder.") for name in changed)
    assert any(name.startswith("motion.") for name in changed)
    assert any(name.startswith("head.") for name in changed)


def test_every_loss_sees_the_same_frames_and_ends_elsewhere(
    recipe: TrainRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[torch.Tensor]] = []
    original = ablation.batches

    def recorded(*arguments: object):
        seen.append([])
        for batch in original(*arguments):
            seen[-1].append(batch.clips.images)
            yield batch

    monkeypatch.setattr(ablation, "batches", recorded)
    models = [
        train_from_start(with_loss(recipe, changes), tmp_path) for changes in VARIANTS.values()
    ]
    for images in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(images, seen[0], strict=True))
    ends = {
        torch.cat([p.detach().flatten() for p in m.parameters()]).numpy().tobytes() for m in models
    }
    assert len(ends) == len(VARIANTS)


def test_finished_runs_are_kept_and_an_interrupted_table_goes_on(
    recipe: TrainRecipe, videos: list[Video], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    options = (["SSI", "TGM+SSI"], 2, videos, tmp_path / "work", said.append)
    trained: list[TrainRecipe] = []
    original = ablation.train_from_start

    def train_twice(own: TrainRecipe, work: Path) -> torch.nn.Module:
        trained.append(own)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return original(own, work)

    monkeypatch.setattr(ablation, "train_from_start", train_twice)
    with pytest.raises(KeyboardInterrupt):
        ablation_table(recipe, *options)
    table = ablation_table(recipe, *options)
    assert [(own.seed, own.loss.video) for own in trained] == [
        (0, "ssi"),
        (0, "tgm"),
        (1, "ssi"),  # interrupted
        (1, "ssi"),
        (1, "tgm"),
    ]
    assert table.names == ["untrained", "SSI", "TGM+SSI"]
    assert table.baseline == "SSI"
    assert [row.scores["tae"].shape for row in table.rows] == [(1, 1), (2, 1), (2, 1)]
    assert len(said) == 3 + 5


def test_other_steps_are_another_run(
    recipe: TrainRecipe, videos: list[Video], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []

    def count(own: TrainRecipe, work: Path) -> torch.nn.Module:
        steps.append(own.steps)
        return start(own, work).eval()

    monkeypatch.setattr(ablation, "train_from_start", count)
    for wanted in (recipe, with_steps(recipe, 3), recipe):
        ablation_table(wanted, ["SSI"], 1, videos, tmp_path / "work", lambda _: None)
    assert steps == [2, 3, 2]


def test_an_unknown_variant_is_refused_before_any_run(
    recipe: TrainRecipe, videos: list[Video], tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match="choose from SSI, VideoAlign"):
        ablation_table(recipe, ["SSI", "nonsense"], 1, videos, tmp_path / "work", lambda _: None)
    assert not (tmp_path / "work").exists()


def test_clips_must_be_long_enough_for_the_flow(
    recipe: TrainRecipe, videos: list[Video], tmp_path: Path
) -> None:
    batch = recipe.batch.model_copy(update={"lengths": (FRAMES + 1,)})
    long = recipe.model_copy(update={"batch": batch})
    with pytest.raises(RecipeError, match=r"batch\.lengths"):
        ablation_table(long, ["SSI"], 1, videos, tmp_path / "work", lambda _: None)
