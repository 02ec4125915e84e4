"""Footage: videos found, surveyed, cut at cuts, and read lazily."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from endodav.errors import InputError, PartialInputWarning
from endodav.training.adaptation import survey as surveying
from endodav.training.adaptation.data import draw_batch, jitter
from endodav.training.adaptation.footage import Footage
from endodav.training.adaptation.recipe import DataRecipe
from endodav.training.adaptation.survey import find_videos, survey
from endodav.video.masks import label_path, write_labels
from endodav.video.roi import Circle, FieldOfView, Polygon, Rectangle, Whole

DATA = DataRecipe(size=(48, 64), targets=2, clips=2, max_stride=3)


def replaced(**fields: object) -> DataRecipe:
    return DATA.model_copy(update=fields)


def scene(seed: int, count: int, height: int = 60, width: int = 80) -> list[np.ndarray]:
    """Frames of a textured wall that moves; its red channel counts the frames."""
    rng = np.random.default_rng(seed)
    wall = rng.integers(40, 220, (8, 10, 3)).repeat(16, 0).repeat(16, 1).astype(np.uint8)
    frames = []
    for k in range(count):
        frame = wall[k : k + height, k : k + width].copy()
        frame[..., 0] = 100 + k
        frames.append(frame)
    return frames


def write_video(path: Path, frames: list[np.ndarray], fps: int = 25) -> None:
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.height, stream.width, stream.pix_fmt = height, width, "bgr0"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A video with a cut after 12 frames, a folder of images of another size, a broken file."""
    folder = tmp_path / "footage"
    (folder / "images").mkdir(parents=True)
    write_video(folder / "a.mkv", scene(0, 12) + scene(7, 9))
    for k, frame in enumerate(scene(3, 6, 40, 50)):
        Image.fromarray(frame).save(folder / "images" / f"{k}.png")
    (folder / "broken.mp4").write_bytes(b"no video")
    (folder / "notes.txt").write_text("not footage")
    return folder


@pytest.fixture
def footage(folder: Path) -> Footage:
    with pytest.warns(PartialInputWarning, match=r"broken\.mp4.*left out"):
        return Footage.open(folder, frames=4)


def test_everything_below_a_folder_is_found(folder: Path) -> None:
    names = [path.name for path in find_videos(folder)]
    assert names == ["a.mkv", "broken.mp4", "images"]
    assert find_videos(folder / "a.mkv") == [folder / "a.mkv"]


def test_clips_lie_between_cuts(footage: Footage) -> None:
    assert [tuple(span) for span in footage.spans] == [(0, 0, 12), (0, 12, 21), (1, 0, 6)]


def test_a_clip_never_crosses_a_cut_or_two_videos(footage: Footage) -> None:
    rng = np.random.default_rng(0)
    strides, shapes = set(), set()
    for _ in range(60):
        clip = footage.draw(rng, max_stride=3, frames=4)
        numbers = clip.images[:, 5, 5, 0].astype(int)
        steps = set(np.diff(numbers))
        assert len(steps) == 1  # frames of one scene count up evenly
        strides |= steps
        shapes.add(clip.images.shape[1:3])
    assert strides == {1, 2, 3}
    assert shapes == {(60, 80), (40, 50)}


def test_the_same_step_draws_the_same_batch(footage: Footage) -> None:
    first, again = (draw_batch(footage, DATA, seed=1, step=5) for _ in range(2))
    assert first.frames.shape == (2, 4, 3, 48, 64)
    assert first.valid.shape == (2, 4, 1, 48, 64)
    torch.testing.assert_close(first.augmented, again.augmented, rtol=0, atol=0)
    other = draw_batch(footage, DATA, seed=1, step=6)
    assert not torch.equal(first.frames, other.frames)


def test_colours_change_alike_in_all_frames() -> None:
    frame = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    changed = jitter(frame.expand(4, 3, 8, 8), np.random.default_rng(1), DATA)
    assert not torch.allclose(changed[0], frame)
    torch.testing.assert_close(changed, changed[:1].expand_as(changed))
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_a_given_field_of_view_masks_the_losses(folder: Path) -> None:
    video = replace(survey(folder / "a.mkv"), field=Circle(40, 30, 20))
    batch = draw_batch(Footage([video], 4), DATA, 0, 0)
    share = batch.valid.float().mean().item()
    assert 0.1 < share < np.pi * 20**2 / (60 * 80)


def test_regions_come_along(folder: Path, tmp_path: Path) -> None:
    video = replace(survey(folder / "images"), field=Whole())
    labels = np.arange(50, dtype=np.int64)[None].repeat(40, 0) // 10
    for index in range(6):
        write_labels(label_path(tmp_path / "masks" / "images", index), labels)
    batch = draw_batch(Footage([video], 4, masks=tmp_path / "masks"), DATA, 0, 0)
    assert batch.regions is not None
    assert batch.regions.shape == (2, 2, 48, 64)
    assert set(batch.regions.unique().tolist()) == {0, 1, 2, 3, 4}


def test_a_still_video_is_warned_of(tmp_path: Path) -> None:
    write_video(tmp_path / "still.mkv", scene(0, 1) * 6)
    with pytest.warns(PartialInputWarning, match="does not move"):
        survey(tmp_path / "still.mkv")


def test_a_survey_is_remembered_until_the_file_changes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, path = tmp_path / "cache", folder / "a.mkv"
    first = survey(path, cache)
    with monkeypatch.context() as patch:
        patch.setattr(surveying, "go_through", lambda _: pytest.fail("gone through again"))
        assert survey(path, cache) == first
    write_video(path, scene(0, 5))
    assert len(survey(path, cache).times) == 5
    next(cache.iterdir()).write_text("damaged")
    assert len(survey(path, cache).times) == 5


@pytest.mark.parametrize(
    "field", [Whole(), Circle(1, 2, 3), Rectangle(1, 2, 3, 4), Polygon(((0, 0), (4, 0), (0, 4)))]
)
def test_every_field_of_view_is_remembered(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: FieldOfView
) -> None:
    monkeypatch.setattr(surveying, "detect_field_of_view", lambda _: field)
    for _ in range(2):
        assert survey(folder / "images", tmp_path / "cache").field == field


def test_the_end_of_each_video_is_held_out(folder: Path) -> None:
    write_video(folder / "a.mkv", scene(0, 30))
    videos = [survey(folder / name) for name in ("a.mkv", "images")]
    footage = Footage(videos, frames=4, held_out=0.2)
    assert [tuple(span) for span in footage.spans] == [(0, 0, 24), (1, 0, 6)]  # too short for more
    assert [tuple(span) for span in footage.held_out] == [(0, 24, 30)]
    rng = np.random.default_rng(0)
    drawn = [footage.draw(rng, 3, 4).images for _ in range(40)]
    assert max(clip[:, 5, 5, 0].max() for clip in drawn if clip.shape[1] == 60) < 124
    places = footage.spread(footage.held_out, 2)
    assert places == [(0, 24), (0, 26)]
    assert footage.spread(footage.held_out, 99) == [(0, 24), (0, 25), (0, 26)]
    with pytest.warns(PartialInputWarning, match="nothing is held out"):
        Footage(videos[1:], frames=4, held_out=0.2)


def test_black_frames_are_no_cuts_and_draw_batches(tmp_path: Path) -> None:
    lit, dark = scene(0, 4), [np.zeros((60, 80, 3), np.uint8)] * 3
    write_video(tmp_path / "dark.mkv", [*lit, *dark, *scene(0, 7)[4:]])
    video = survey(tmp_path / "dark.mkv")
    assert video.cuts == ()
    batch = draw_batch(Footage([video], 10), replaced(clips=1, targets=8), 0, 0)
    assert batch.frames.isfinite().all()


def test_images_of_two_sizes_in_one_folder_are_left_out_by_name(folder: Path) -> None:
    Image.fromarray(scene(3, 1, 44, 50)[0]).save(folder / "images" / "9.png")
    with pytest.warns(PartialInputWarning, match=r"images|broken"):
        footage = Footage.open(folder, frames=4)
    assert footage.videos[0].path.name == "a.mkv"


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with (
        pytest.warns(PartialInputWarning, match="left out"),
        pytest.raises(InputError, match="can be read"),
    ):
        Footage.open(tmp_path, frames=4)


def test_too_few_frames(folder: Path) -> None:
    with pytest.raises(InputError, match="13 frames between two cuts"):
        Footage([survey(folder / "a.mkv")], 13)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no video"):
        find_videos(tmp_path)
