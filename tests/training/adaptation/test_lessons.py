"""A camera network learns what direct alignment finds, and it alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from endodav.geometry.camera import rigid, rotation_from_axis_angle
from endodav.training.adaptation.batch import VideoBatch
from endodav.training.adaptation.camera import FOCAL_SHARE, DirectCamera, Sighting, look
from endodav.training.adaptation.data import draw_batch
from endodav.training.adaptation.lessons import lesson
from endodav.training.adaptation.networks import running_statistics
from endodav.training.adaptation.recipe import AdaptRecipe, LessonsRecipe
from endodav.training.adaptation.run import Adaptation
from endodav.training.checkpoint import Progress
from endodav.training.engine import launch

from .world import RECIPE, wall

pytestmark = pytest.mark.usefixtures("narrow_networks")

LESSONS = RECIPE.model_copy(update={"lessons": LessonsRecipe(steps=3, clips=8)})
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


class Teacher(DirectCamera):
    """Finds what it is told to."""

    def __init__(self, find: Callable[[VideoBatch, Tensor], Sighting]) -> None:
        super().__init__()
        self.find = find

    def forward(self, batch: VideoBatch, depth: Tensor) -> Sighting:
        return self.find(batch, depth)


@pytest.mark.parametrize("family", FAMILIES)
def test_who_says_what_the_teacher_finds_makes_no_error(family: str, batch: VideoBatch) -> None:
    """And is asked in the order in which he is asked of real pairs."""
    networks = Adaptation.of(FAMILIES[family], launch("cpu", "fp32")).start.networks.eval()
    for in_time in (False, True):
        teacher = Teacher(partial(look, networks.camera, in_time=in_time))
        parts = lesson(networks, teacher, batch).parts
        assert (parts["motion"] == 0) == (in_time == (family == "endoufm"))


def test_errors_are_percent_of_the_width_and_shares_of_the_sides(batch: VideoBatch) -> None:
    networks = Adaptation.of(LESSONS, launch("cpu", "fp32")).start.networks.eval()
    R = rotation_from_axis_angle(torch.tensor([[0.0, 0.0, 1e-3]]))

    def rolled(batch: VideoBatch, depth: Tensor) -> Sighting:
        intrinsics, motions = look(networks.camera, batch, depth)
        longer = intrinsics + torch.diag(torch.tensor([0.3 * 64, 0.0, 0.0]))
        return Sighting(longer, {k: rigid(R, torch.zeros(1, 3)) @ T for k, T in motions.items()})

    parts = lesson(networks, Teacher(rolled), batch).parts
    from_axis = (torch.arange(64.0) - 31.5).abs().mean()  # across and down
    torch.testing.assert_close(parts["motion"], 100 * 1e-3 * from_axis / 64, rtol=0.1, atol=0)
    torch.testing.assert_close(parts["intrinsics"], torch.tensor(0.3 / 6))


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_camera_takes_lessons(family: str, batch: VideoBatch) -> None:
    run = Adaptation.of(FAMILIES[family], launch("cpu", "fp32"))
    before = {name: value.clone() for name, value in run.start.networks.state_dict().items()}
    record = run.step(batch)
    assert {name.partition("/")[0] for name in record if "/" in name} == {"lesson"}
    after = run.start.networks.state_dict()
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith(("camera.", "teacher.")) for name in moved)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_step_begins_with_another_lesson(family: str, batch: VideoBatch) -> None:
    """And whatever it shows, what batch norms learned from the new lessons stays."""
    run = Adaptation.of(FAMILIES[family], launch("cpu", "fp32"))
    run.step(batch)
    after_one = [values.clone() for values in running_statistics(run.start.networks.camera)]
    run.progress = Progress(step=FAMILIES[family].taught)
    record = run.step(batch)
    found = list(dict.fromkeys(name.partition("/")[0] for name in record if "/" in name))
    assert found == (["lesson", "depth"] if family == "endoufm" else ["lesson", "flow", "depth"])
    now = running_statistics(run.start.networks.camera)
    assert all(map(torch.equal, after_one, now))
    assert math.exp(run.start.networks.teacher.log_focal) != pytest.approx(FOCAL_SHARE, abs=1e-6)


def moved_by(recipe: AdaptRecipe, step: int, batch: VideoBatch) -> float:
    """How far a lesson, or a step, moves the weights of a new camera network at most."""
    run = Adaptation.of(recipe, launch("cpu", "fp32"))
    run.progress = Progress(step=step)
    weight = run.start.networks.camera.decoder.squeeze.weight
    before = weight.clone()
    run.step(batch)
    return (weight - before).abs().max().item()


def test_a_camera_that_knows_much_learns_at_a_pace_of_its_own(batch: VideoBatch) -> None:
    own = LESSONS.model_copy(update={"lessons": LessonsRecipe(steps=3, clips=8, rate=0.01)})
    lessons, steps = ([moved_by(each, step, batch) for each in (own, LESSONS)] for step in (0, 3))
    assert lessons[0] == pytest.approx(lessons[1], rel=1e-3)
    assert steps[0] == pytest.approx(0.01 * steps[1], rel=0.2)


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
    with pytest.raises(ValueError, match="greater than or equal to 24"):
        LessonsRecipe(finest=23)


def test_a_lesson_shows_more_places_than_a_step(tmp_path: Path) -> None:
    run, footage = Adaptation.of(LESSONS, launch("cpu", "fp32")), wall(tmp_path / "images", 6)
    shapes = [tuple(run.draw(footage, step).frames.shape[:2]) for step in range(5)]
    assert shapes == [(8, 3)] * 3 + [(1, 4)] * 2
