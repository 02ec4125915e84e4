"""Motions that are made up: pairs show them, and a camera network alone learns from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from endodav.models.pose import CameraNetwork, Motion
from endodav.training.adaptation.batch import VideoBatch
from endodav.training.adaptation.camera import look
from endodav.training.adaptation.data import draw_batch
from endodav.training.adaptation.lessons import imagine, lesson
from endodav.training.adaptation.recipe import AdaptRecipe, LessonsRecipe
from endodav.training.adaptation.run import Adaptation
from endodav.training.adaptation.step import warp_by_depth
from endodav.training.engine import launch

from .world import RECIPE, wall

pytestmark = pytest.mark.usefixtures("narrow_networks")

LESSONS = RECIPE.model_copy(update={"lessons": LessonsRecipe(steps=3)})
FAMILIES = {
    "endodav": LESSONS,
    "endoufm": AdaptRecipe.model_validate(
        LESSONS.model_dump()
        | {"loss": {"method": "decomposition"}}
        | {"depth": {"family": "endoufm", "image_shape": (32, 32)}}
    ),
}


@pytest.fixture
def batch(tmp_path: Path) -> VideoBatch:
    return draw_batch(wall(tmp_path / "images", 6), LESSONS.data, 0, 0)


class Knowing(CameraNetwork):
    """Says what it was told, and keeps what it was shown."""

    told: Tensor
    shown: tuple[Tensor, Tensor]

    def forward(self, first: Tensor, second: Tensor) -> Motion:
        self.shown = first, second
        turn, shift = self.told[:, None, :3], self.told[:, None, 3:]
        return Motion(turn, shift, torch.zeros(len(first), 8, 1, 1))


def test_a_painted_pair_shows_its_motion(batch: VideoBatch) -> None:
    depths = torch.linspace(1, 3, 64).expand(2, 64, 64)
    pairs = imagine(batch, depths)
    seen = warp_by_depth(
        pairs.neighbours, pairs.depths, pairs.intrinsics, pairs.T_neighbour_from_target
    )
    error = torch.where(pairs.usable, seen - pairs.targets, 0.0).abs().mean()
    unmoved = torch.where(pairs.usable, pairs.neighbours - pairs.targets, 0.0).abs().mean()
    assert error < 0.3 * unmoved  # but for the light
    assert (pairs.targets - pairs.neighbours).abs().mean() > 0.01  # and not the frame itself
    nothing = replace(batch, valid=batch.valid & False)
    assert torch.equal(imagine(nothing, depths).targets, pairs.neighbours)  # a rim stays
    with pytest.raises(ValueError, match="no motions"):
        imagine(replace(batch, motions=None), depths)


def test_what_comes_nearer_gets_brighter(batch: VideoBatch) -> None:
    """The light is at the lens: behind a step back, it is the far wall that loses least."""
    grey = torch.full_like(batch.frames, 0.5)
    back = torch.zeros_like(batch.motions)
    back[..., 5] = 0.5  # the neighbour's points are farther from it, so this camera is nearer
    lit = replace(
        batch, frames=grey, augmented=grey, valid=torch.ones_like(batch.valid), motions=back
    )
    depths = torch.full((2, 64, 64), 2.0)
    depths[:, :, 32:] = 1.0
    painted = imagine(lit, depths).targets
    assert painted[..., 40:].mean() > 1.1 * painted[..., :24].mean()
    torch.testing.assert_close(painted.mean(), grey.mean(), rtol=1e-3, atol=0)


def test_translations_are_counted_in_the_depth_at_hand(batch: VideoBatch) -> None:
    near, far = (imagine(batch, torch.full((2, 64, 64), depth)) for depth in (1.0, 50.0))
    torch.testing.assert_close(near.targets, far.targets, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_who_says_the_motion_that_was_made_up_makes_no_error(
    family: str, batch: VideoBatch
) -> None:
    """And is asked in the order in which he is asked of real pairs."""
    networks = Adaptation.of(FAMILIES[family], launch("cpu", "fp32")).start.networks.eval()
    networks.camera = camera = Knowing()
    assert batch.motions is not None
    told = batch.motions.flatten(0, 1)
    camera.told = torch.zeros_like(told)
    assert lesson(networks, batch).parts["motion"] > 0.5
    shown = camera.shown
    depth = torch.full((2, 64, 64), 1.0)
    camera.told = torch.zeros_like(told)
    look(camera, batch, depth, in_time=family == "endoufm")  # the last pair: with the next frames
    asked = [torch.equal(camera.shown[k], batch.seen()) for k in range(2)]
    pairs = imagine(batch, depth)  # the same neighbours, whatever the depth
    assert asked == [torch.equal(shown[k], pairs.neighbours) is False for k in range(2)]


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_camera_takes_lessons(family: str, batch: VideoBatch) -> None:
    run = Adaptation.of(FAMILIES[family], launch("cpu", "fp32"))
    before = {name: value.clone() for name, value in run.start.networks.state_dict().items()}
    record = run.step(batch)
    assert {name.partition("/")[0] for name in record if "/" in name} == {"lesson"}
    after = run.start.networks.state_dict()
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("camera.") for name in moved)


def test_lessons_are_learned(batch: VideoBatch) -> None:
    recipe = LESSONS.model_copy(update={"lessons": LessonsRecipe(steps=120)})
    run = Adaptation.of(recipe, launch("cpu", "fp32"))
    errors = [run.step(batch)["lesson/motion"] for _ in range(120)]
    assert errors[-1] < 0.6 * errors[0]


def test_whoever_sees_or_needs_no_network_takes_no_lessons() -> None:
    assert [LESSONS.settled(imagenet).taught for imagenet in (False, True)] == [3, 0]
    content = LESSONS.model_dump() | {"camera": "direct"}
    with pytest.raises(ValueError, match="'lessons' are for a camera network"):
        AdaptRecipe.model_validate(content)


def test_a_lesson_shows_more_places_than_a_step(tmp_path: Path) -> None:
    run, footage = Adaptation.of(LESSONS, launch("cpu", "fp32")), wall(tmp_path / "images", 6)
    clips = [len(run.draw(footage, step).frames) for step in range(5)]
    assert clips == [4] * 3 + [1] * 2


def test_motions_do_not_depend_on_who_draws_the_other_clips(tmp_path: Path) -> None:
    footage = wall(tmp_path / "images", 6)
    two = LESSONS.data.model_copy(update={"clips": 2})
    both, second = (draw_batch(footage, two, 0, 0, which) for which in (slice(0, 2), slice(1, 2)))
    assert both.motions is not None
    assert second.motions is not None
    assert torch.equal(both.motions[1:], second.motions)
