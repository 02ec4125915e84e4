"""Who learns at a step, as a function of its number; and the table of what trains at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

from endodav.models.depth import EndoDAV
from endodav.models.resnet_depth import ResNetDepth
from endodav.training.adaptation.lessons import learning_rate as lesson_rate
from endodav.training.adaptation.networks import (
    DecompositionNetworks,
    DepthNetwork,
    Networks,
    RegistrationNetworks,
)
from endodav.training.adaptation.recipe import DepthRecipe, LessonsRecipe, ScheduleRecipe


class StepPlan(NamedTuple):
    """What one step does.

    Attributes:
        temporal: the motion modules' adapters train, and neighbouring depths have to agree.
        warm_up: low-rank factors still train, not yet their vectors alone.
        depth: the depth network trains at all.
        learning_rate: of everything; depth and camera learn at multiples of it.
        lesson: the camera network alone learns, from what direct alignment finds.
    """

    temporal: bool
    warm_up: bool
    depth: bool
    learning_rate: float
    lesson: bool = False


def plan(schedule: ScheduleRecipe, step: int, lessons: LessonsRecipe | None = None) -> StepPlan:
    """What step `step`, counted from 0, does; the lessons come first, beside the schedule.

    >>> [plan(ScheduleRecipe(), step).temporal for step in (0, 399, 400, 499, 500)]
    [False, False, True, True, False]
    """
    if lessons is not None:
        if step < lessons.steps:
            rate = lesson_rate(step, lessons.steps) / lessons.rate  # the camera's own is as it says
            return StepPlan(False, warm_up=False, depth=False, learning_rate=rate, lesson=True)
        step -= lessons.steps
    turn = step % (schedule.spatial_steps + schedule.temporal_steps)
    rate = schedule.learning_rate * schedule.decay ** (step // schedule.decay_steps)
    return StepPlan(
        turn >= schedule.spatial_steps,
        step < schedule.warm_up_steps,
        step >= schedule.depth_from and step % schedule.depth_every == 0,
        rate,
    )


def depth_parameters(depth: DepthNetwork, recipe: DepthRecipe, now: StepPlan) -> list[nn.Parameter]:
    """The parameters of the depth network that train in a step."""
    if not now.depth:
        return []
    if isinstance(depth, ResNetDepth):
        return list(depth.parameters())
    if isinstance(depth, EndoDAV):
        phase = depth.temporal_parameters if now.temporal else depth.spatial_parameters
        output = depth.output_parameters() if recipe.train_output else []
        chosen = [*phase(now.warm_up), *output]
        return list({id(parameter): parameter for parameter in chosen}.values())
    return depth.spatial_parameters(now.warm_up)


def ever_trained(
    networks: Networks, recipe: DepthRecipe, schedule: ScheduleRecipe
) -> list[nn.Parameter]:
    """What the optimiser has to know: everything that trains in any step, once each."""
    found = [
        parameter
        for temporal, warm_up in kinds(schedule)
        for parameter in depth_parameters(
            networks.depth, recipe, StepPlan(temporal, warm_up, depth=True, learning_rate=0)
        )
    ]
    found += networks.companions()
    if isinstance(networks, RegistrationNetworks):
        found += networks.flow.parameters()
    return list({id(parameter): parameter for parameter in found}.values())


def kinds(schedule: ScheduleRecipe) -> list[tuple[bool, bool]]:
    """The pairs of (temporal, warm_up) that the schedule knows."""
    phases = (False, True) if schedule.temporal_steps else (False,)
    stages = (True, False) if schedule.warm_up_steps else (False,)
    return [(temporal, warm_up) for temporal in phases for warm_up in stages]


class Row(NamedTuple):
    """A line of the table of trainable parameters."""

    part: str
    trains: str
    tensors: int
    scalars: int


def trainable_table(networks: Networks, recipe: DepthRecipe, schedule: ScheduleRecipe) -> list[Row]:
    """What trains, part by part and phase by phase, and out of how many parameters."""

    def rows() -> Iterator[Row]:
        for temporal, warm_up in kinds(schedule):
            now = StepPlan(temporal, warm_up, depth=True, learning_rate=0)
            phase = "temporal" if temporal else "spatial"
            when = f"{phase}, warm-up" if warm_up else phase
            yield _row("depth", when, depth_parameters(networks.depth, recipe, now))
        yield _row("depth", "of all", list(networks.depth.parameters()))
        if isinstance(networks, DecompositionNetworks):
            yield _row("decomposition", "always", list(networks.decompose.parameters()))
            yield _row("light", "always", list(networks.adjust.parameters()))
        else:
            yield _row("optical flow", "always", list(networks.flow.parameters()))
            yield _row("appearance flow", "always", list(networks.appearance.parameters()))
        yield _row("camera", "always", list(networks.camera.parameters()))

    return list(rows())


def _row(part: str, trains: str, parameters: list[nn.Parameter]) -> Row:
    return Row(part, trains, len(parameters), sum(p.numel() for p in parameters))
