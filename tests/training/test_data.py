"""Batches are functions of recipe and step, and geometry survives augmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import default_convert

from endodav.training import clips, data
from endodav.training.augmentation import CHANGES, change_photometry
from endodav.training.clips import HELD_OUT_SEED, Clip, ClipStore, continued, pool
from endodav.training.data import (
    MAX_STRIDE,
    Batches,
    augment,
    batches,
    draw_crop,
    draw_times,
    draw_view,
    forget_old_clips,
    held_out_clips,
)
from endodav.training.recipe import ClipsRecipe, TrainRecipe

pytestmark = pytest.mark.usefixtures("small_world")


def flat(batch: object) -> list[torch.Tensor]:
    clips, images = default_convert(batch)
    return [tensor for tensor in (*clips, *images) if tensor is not None]


def test_a_batch_is_what_the_recipe_says(recipe: TrainRecipe, tmp_path: Path) -> None:
    for step in range(8):
        clips, images = Batches(recipe, tmp_path)[step]
        assert images is not None
        size = tuple(clips.images.shape[-2:])
        assert size in recipe.batch.sizes
        assert clips.images.shape == (2, 3, 3, *size)
        assert images.valid.shape == (2, 1, *size)
        assert (clips.inverse_depth[clips.valid] > 0).all()
        assert clips.valid.all()


def test_depth_goes_on_where_it_is_unknown() -> None:
    depth = np.full((2, 20, 30), 50, np.float32)
    depth[:, :, 15:] = 10
    valid = np.zeros(depth.shape, bool)
    valid[0, 4:17, 3:28] = True  # and nothing in the second frame
    images = np.zeros((*depth.shape, 3), np.uint8)
    clip = continued(Clip(images, depth * valid, valid))
    assert clip.valid[0].all()
    assert not clip.valid[1].any()
    np.testing.assert_allclose(clip.depth[0][valid[0]], depth[0][valid[0]], rtol=1e-6)
    assert clip.depth[0].min() > 9.99
    assert clip.depth[0].max() < 50.01
    np.testing.assert_allclose(clip.depth[0, :, :3], 50, rtol=1e-5)
    np.testing.assert_allclose(clip.depth[0, :, 28:], 10, rtol=1e-5)
    assert (clip.depth[1] == 0).all()


def test_no_images_where_none_are_wanted(recipe: TrainRecipe, tmp_path: Path) -> None:
    batch = recipe.batch.model_copy(update={"images": 0})
    assert Batches(recipe.model_copy(update={"batch": batch}), tmp_path)[0].images is None


def test_images_may_come_from_scenes_of_their_own(recipe: TrainRecipe, tmp_path: Path) -> None:
    """The clips stay what they were, and each rendering keeps and forgets its own."""
    scenes = ClipsRecipe(
        first=500_000, total=3, keep=1, at_start=1, per_step=1, frames=1, height=24, width=32
    )
    own = recipe.model_copy(update={"scenes": scenes})
    for step in range(3):
        batch, plain = Batches(own, tmp_path)[step], Batches(recipe, tmp_path)[step]
        assert torch.equal(batch.clips.images, plain.clips.images)
        assert batch.images is not None
        assert plain.images is not None
        assert not torch.equal(batch.images.inverse_depth, plain.images.inverse_depth)

    def kept() -> list[str]:
        return sorted(path.name for path in tmp_path.rglob("1x24x32/*.npz"))

    assert len(kept()) == 3
    last = kept()[-1]
    forget_old_clips(own, tmp_path, step=2)
    assert kept() == [last]


def test_batches_depend_on_step_and_seed_alone(recipe: TrainRecipe, tmp_path: Path) -> None:
    whole = [flat(batch) for batch in batches(recipe, tmp_path / "a", 0)]
    tail = [flat(batch) for batch in batches(recipe, tmp_path / "b", 9)]
    assert (len(whole), len(tail)) == (12, 3)
    for one, other in zip(whole[9:], tail, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(one, other, strict=True))
    other_seed = flat(Batches(recipe.model_copy(update={"seed": 1}), tmp_path / "a")[9])
    assert not torch.equal(whole[9][0], other_seed[0])


def test_clips_are_rendered_once(
    recipe: TrainRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ClipStore(tmp_path, recipe.clips).get(3)
    monkeypatch.delattr(clips, "render_clip")
    again = ClipStore(tmp_path, recipe.clips).get(3)
    assert all(np.array_equal(a, b) for a, b in zip(first[:3], again[:3], strict=True))
    assert not list(tmp_path.rglob("*partial*"))


def test_clips_take_strides_in_turn(recipe: TrainRecipe, tmp_path: Path) -> None:
    strides = recipe.clips.model_copy(update={"strides": (1, 5)})
    near, wide = (ClipStore(tmp_path, each) for each in (recipe.clips, strides))
    assert all(np.array_equal(a, b) for a, b in zip(near.get(6)[:3], wide.get(6)[:3], strict=True))
    again = clips.render_clip(7, *near.get(7).depth.shape, stride=5)
    assert np.array_equal(wide.get(7).images, again.images)
    assert not np.array_equal(wide.get(7).images, near.get(7).images)


def test_held_out_clips_are_not_trained_on(recipe: TrainRecipe, tmp_path: Path) -> None:
    assert len(held_out_clips(recipe, tmp_path)) == recipe.watch.clips
    list(batches(recipe, tmp_path, 0))
    seeds = {int(path.stem) for path in tmp_path.rglob("*.npz")}
    assert {seed for seed in seeds if seed >= HELD_OUT_SEED} == {HELD_OUT_SEED}
    assert {seed for seed in seeds if seed < HELD_OUT_SEED} <= set(range(recipe.clips.total))


def test_the_pool_grows_and_then_slides() -> None:
    recipe = ClipsRecipe(total=10, at_start=4, per_step=0.5, keep=5)
    pools = [pool(recipe, step) for step in (0, 1, 2, 6, 12, 99)]
    assert pools == [range(4), range(4), range(5), range(2, 7), range(5, 10), range(5, 10)]


def test_old_clips_are_deleted_and_made_again(recipe: TrainRecipe, tmp_path: Path) -> None:
    sliding = recipe.clips.model_copy(update={"keep": 2, "total": 50, "per_step": 1.0})
    recipe = recipe.model_copy(update={"clips": sliding})
    held_out_clips(recipe, tmp_path)
    before = flat(Batches(recipe, tmp_path)[0])
    forget_old_clips(recipe, tmp_path, 5)
    assert {int(path.stem) for path in tmp_path.rglob("*.npz")} == {HELD_OUT_SEED}
    again = flat(Batches(recipe, tmp_path)[0])
    assert all(torch.equal(x, y) for x, y in zip(before, again, strict=True))


def test_what_a_killed_process_left_is_no_clip(recipe: TrainRecipe, tmp_path: Path) -> None:
    store = ClipStore(tmp_path, recipe.clips)
    store.ensure(0)
    (whole,) = tmp_path.rglob("*.npz")
    whole.with_suffix(".claim").touch()
    whole.with_name("0000000001.77.partial.npz").touch()
    store.forget(range(5))
    store.tidy()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_clips_of_an_earlier_renderer_are_not_taken(
    recipe: TrainRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = ClipStore(tmp_path, recipe.clips).ensure(0)
    monkeypatch.setattr(clips, "GENERATION", clips.GENERATION + 1)
    assert ClipStore(tmp_path, recipe.clips).ensure(0) != old


@pytest.fixture
def claimed(recipe: TrainRecipe, tmp_path: Path) -> Path:
    """Where clip 0 will lie, which another process has begun to render."""
    path = ClipStore(tmp_path, recipe.clips).ensure(0)
    path.rename(tmp_path / "rendered")
    path.with_suffix(".claim").touch()
    return path


def test_a_clip_that_another_process_renders_is_awaited(
    recipe: TrainRecipe, tmp_path: Path, claimed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(clips, "render_clip")
    monkeypatch.setattr(clips.time, "sleep", lambda _: (tmp_path / "rendered").rename(claimed))
    assert len(ClipStore(tmp_path, recipe.clips).get(0).images) == recipe.clips.frames


def test_a_clip_that_another_process_gave_up_is_rendered(
    recipe: TrainRecipe, tmp_path: Path, claimed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clips.time, "sleep", lambda _: claimed.with_suffix(".claim").unlink())
    assert len(ClipStore(tmp_path, recipe.clips).get(0).images) == recipe.clips.frames


@settings(max_examples=50, deadline=None)
@given(available=st.integers(1, 20), frames=st.integers(1, 40), seed=st.integers(0, 99))
def test_times_turn_back_at_the_ends(available: int, frames: int, seed: int) -> None:
    times = draw_times(available, frames, np.random.default_rng(seed))
    assert len(times) == frames
    assert 0 <= times.min() <= times.max() < available
    assert np.abs(np.diff(times)).max(initial=0) <= MAX_STRIDE


def test_both_directions_of_time_occur() -> None:
    first = [np.diff(draw_times(9, 2, np.random.default_rng(seed)))[0] for seed in range(50)]
    assert set(np.sign(first)) >= {-1, 1}


@settings(max_examples=50, deadline=None)
@given(
    height=st.integers(14, 200), width=st.integers(14, 200), seed=st.integers(0, 99),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
)  # fmt: skip
def test_crops_lie_inside(height: int, width: int, seed: int, size: tuple[int, int]) -> None:
    wanted = (14 * size[0], 14 * size[1])
    rows, columns = draw_crop(height, width, wanted, np.random.default_rng(seed))
    assert 0 <= rows.start < rows.stop <= height
    assert 0 <= columns.start < columns.stop <= width


@pytest.mark.parametrize("size", [(112, 144), (144, 112), (128, 128)])
def test_most_of_a_wide_frame_is_seen(size: tuple[int, int]) -> None:
    turned, shares = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        view = draw_view((144, 176), size, rng)
        shape = (176, 144) if view.transpose else (144, 176)
        rows, columns = draw_crop(*shape, size, rng)
        turned.append(view.transpose)
        shares.append((rows.stop - rows.start) * (columns.stop - columns.start) / (144 * 176))
    assert set(turned) == {(112, 144): {False}, (144, 112): {True}}.get(size, {False, True})
    assert min(shares) > 0.5
    assert np.median(shares) > 0.65


def test_image_and_depth_stay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "change_photometry", lambda images, _: images)
    rng = np.random.default_rng(0)
    grid = rng.uniform(size=(4, 5, 6)).repeat(8, axis=1).repeat(8, axis=2)
    images = np.repeat((255 * grid).astype(np.uint8)[..., None], 3, axis=3)
    clip = Clip(images, 1 / (0.1 + grid), np.ones(grid.shape, bool))
    for seed in range(8):
        sample = augment(clip, 3, (28, 28), np.random.default_rng(seed))
        seen = sample.images[:, 0].flatten()
        together = torch.corrcoef(torch.stack([seen, sample.inverse_depth.flatten().float()]))
        assert together[0, 1] > 0.9


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.apply.__name__)
def test_changes_do_something_and_only_noise_differs_between_frames(change: object) -> None:
    images = torch.rand(1, 3, 12, 14).expand(3, -1, -1, -1)
    changed = change.apply(images, np.random.default_rng(1))  # type: ignore[attr-defined]
    assert changed.shape == images.shape
    assert not torch.allclose(changed, images)
    same = torch.allclose(changed[0], changed[1])
    assert same == (change.apply.__name__ != "noise")  # type: ignore[attr-defined]


def test_photometry_stays_in_range() -> None:
    for seed in range(20):
        changed = change_photometry(torch.rand(2, 3, 12, 14), np.random.default_rng(seed))
        assert 0 <= changed.min() <= changed.max() <= 1
