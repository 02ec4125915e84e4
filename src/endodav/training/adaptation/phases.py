"""The phases of a step: which networks learn, and from which losses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import nn

from endodav.models.adapters import train_only
from endodav.training.adaptation.batch import VideoBatch
from endodav.training.adaptation.camera import DirectCamera
from endodav.training.adaptation.decomposition import decomposition_phase, observe_light
from endodav.training.adaptation.lessons import lesson
from endodav.training.adaptation.networks import (
    DecompositionNetworks,
    Networks,
    RegistrationNetworks,
)
from endodav.training.adaptation.recipe import (
    AdaptRecipe,
    DecompositionLossRecipe,
    RegistrationLossRecipe,
)
from endodav.training.adaptation.schedule import StepPlan, depth_parameters
from endodav.training.adaptation.step import depth_phase, flow_phase, observe
from endodav.training.adaptation.terms import Losses


class Phase(NamedTuple):
    """One part of a step, with a movement of the optimiser of its own.

    Attributes:
        name: as the log says it.
        prepare: chooses what trains and whose batch norms count.
        losses: of some clips, once prepared.
    """

    name: str
    prepare: Callable[[], None]
    losses: Callable[[VideoBatch], Losses]


def phases(networks: Networks, recipe: AdaptRecipe, now: StepPlan) -> list[Phase]:
    """The phases of a step, in their order; each has to move before the next is prepared."""
    teacher = networks.teacher
    lessons = [] if teacher is None else [_lesson(networks, teacher, new=now.lesson)]
    if now.lesson:
        return lessons
    return [*lessons, *_published(networks, recipe, now)]


def _lesson(networks: Networks, teacher: DirectCamera, *, new: bool) -> Phase:
    """The camera network alone learns; its batch norms count only while lessons are new."""

    def count() -> None:
        networks.eval()
        networks.camera.train(new)
        teacher.train()

    prepare = partial(_prepare, networks, count, list(networks.camera.parameters()))
    return Phase("lesson", prepare, partial(lesson, networks, teacher))


def _published(networks: Networks, recipe: AdaptRecipe, now: StepPlan) -> list[Phase]:
    moving = [*depth_parameters(networks.depth, recipe.depth, now), *networks.companions()]
    weights = recipe.loss
    if isinstance(networks, DecompositionNetworks):
        assert isinstance(weights, DecompositionLossRecipe)
        prepare = partial(_prepare, networks, partial(_count, networks, networks.train), moving)
        return [Phase("depth", prepare, partial(_decomposed, networks, weights))]
    assert isinstance(weights, RegistrationLossRecipe)
    flow = list(networks.flow.parameters())
    return [
        Phase(
            "flow",
            partial(_prepare, networks, networks.train_flow, flow),
            lambda batch: flow_phase(networks, batch, weights),
        ),
        Phase(
            "depth",
            partial(_prepare, networks, partial(_count, networks, networks.train_depth), moving),
            partial(_registered, networks, weights, now.temporal),
        ),
    ]


def _count(networks: Networks, train: Callable[[], object]) -> None:
    """As published; but a camera that took lessons keeps what many places showed it."""
    train()
    if networks.teacher is not None:
        networks.camera.eval()


def _prepare(networks: Networks, count: Callable[[], object], moving: list[nn.Parameter]) -> None:
    count()
    train_only(networks, moving)


def _registered(
    networks: RegistrationNetworks,
    weights: RegistrationLossRecipe,
    temporal: bool,
    batch: VideoBatch,
) -> Losses:
    return depth_phase(observe(networks, batch), batch, weights, temporal=temporal)


def _decomposed(
    networks: DecompositionNetworks, weights: DecompositionLossRecipe, batch: VideoBatch
) -> Losses:
    lit = observe_light(networks, batch)
    return decomposition_phase(networks.adjust, lit, batch, weights)
