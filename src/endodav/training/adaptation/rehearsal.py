"""One real step of each kind before a run: whether it works, its cost, what the run would do."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import torch

from endodav.inference.memory import memory_explained, peak_held_by
from endodav.training.adaptation.footage import Footage
from endodav.training.adaptation.recipe import AdaptRecipe, ScheduleRecipe
from endodav.training.adaptation.run import Adaptation
from endodav.training.adaptation.schedule import Row, plan, trainable_table
from endodav.training.adaptation.trainer import WHAT_TO_LOWER
from endodav.training.checkpoint import Progress
from endodav.training.engine import launch


class Rehearsal(NamedTuple):
    """What one step showed.

    Attributes:
        shape: of the batch: clips, frames, channels, rows, columns.
        drawing: seconds to decode it, which a run does ahead.
        computing: seconds of the step; the first is the slowest.
        teaching: seconds of a lesson, or of decoding its batch if that takes longer; 0 where there
            is none.
        peak_bytes: of memory.
        losses: by phase and term.
        trains: the table of trainable parameters.
        imagenet: file that ResNet encoders would start from; None for none at hand.
    """

    shape: tuple[int, ...]
    drawing: float
    computing: float
    teaching: float
    peak_bytes: int
    losses: dict[str, float]
    trains: list[Row]
    imagenet: Path | None


class Stage(NamedTuple):
    """Steps in a row that do the same.

    Attributes:
        first: of them, from 0.
        steps: how many.
        learning_rate: of them.
        warm_up: low-rank factors still train.
        depth: trains, and not only its companions.
    """

    first: int
    steps: int
    learning_rate: float
    warm_up: bool
    depth: bool


def rehearse(
    recipe: AdaptRecipe, footage: Footage, device: torch.device | str, precision: str = "fp32"
) -> Rehearsal:
    """Do the first step of a run, and the first lesson if it has any, and leave nothing behind.

    Raises:
        RecipeError: it does not fit into memory, or cannot be.
        WeightsError: the base is not to be had, or cannot be adapted.
    """
    engine = launch(device, precision)
    run = Adaptation.of(recipe, engine, download=False)
    run.settle_unit(footage)
    lesson = _first(run, footage, 0) if recipe.taught else None
    step = _first(run, footage, recipe.taught)
    return Rehearsal(
        step.shape,
        step.drawing,
        step.computing,
        max(lesson.drawing, lesson.computing) if lesson else 0.0,
        peak_held_by(engine.device),
        run.last,
        trainable_table(run.start.networks, recipe.depth, recipe.schedule),
        run.start.imagenet,
    )


class _Step(NamedTuple):
    """A step that was done: the shape of its batch, seconds of drawing and of computing it."""

    shape: tuple[int, ...]
    drawing: float
    computing: float


def _first(run: Adaptation, footage: Footage, number: int) -> _Step:
    """The step of that number, done as the first of a run that begins there."""
    run.progress = Progress(step=number)
    begun = time.perf_counter()
    batch = run.draw(footage, number)
    drawn = time.perf_counter()
    with memory_explained(run.engine.device, WHAT_TO_LOWER):
        run.step(batch)
    return _Step(tuple(batch.frames.shape), drawn - begun, time.perf_counter() - drawn)


def stages(schedule: ScheduleRecipe) -> list[Stage]:
    """The run in parts of one learning rate in which the same parts of networks train.

    >>> [s.steps for s in stages(ScheduleRecipe(steps=25, decay_steps=10, warm_up_steps=0))]
    [10, 10, 5]
    """
    turns = {0, schedule.warm_up_steps, schedule.depth_from}
    borders = turns | set(range(0, schedule.steps, schedule.decay_steps))
    firsts = sorted(step for step in borders if step < schedule.steps)
    return [
        Stage(
            first,
            following - first,
            now.learning_rate,
            now.warm_up,
            depth=first >= schedule.depth_from,
        )
        for first, following in zip(firsts, [*firsts[1:], schedule.steps], strict=True)
        if (now := plan(schedule, first))
    ]
