"""A run's moving parts: networks, optimiser, progress; one step, on disk and off."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from endodav.errors import OutputError, RecipeError
from endodav.files import written_whole
from endodav.models.depth import EndoDAV
from endodav.training.adaptation.batch import VideoBatch
from endodav.training.adaptation.data import ALL, chunks, draw_batch, part_of
from endodav.training.adaptation.footage import Footage
from endodav.training.adaptation.networks import disparities, place, running_statistics
from endodav.training.adaptation.phases import Phase, phases
from endodav.training.adaptation.recipe import AdaptRecipe
from endodav.training.adaptation.schedule import ever_trained, plan
from endodav.training.adaptation.start import Start, start
from endodav.training.adaptation.terms import disparity_from_depth
from endodav.training.checkpoint import Progress
from endodav.training.engine import Engine
from endodav.training.optimiser import set_rate
from endodav.weights.adapters import save_adapter
from endodav.weights.runs import ADAPTER_FILE, MODEL_FILE, save_model

Record = dict[str, Any]


@dataclass(frozen=True)
class Best:
    """The best validation so far.

    Attributes:
        step: steps done then.
        value: of the recipe's measure; less is better.
        since: validations after it, none of them better.
    """

    step: int = 0
    value: float = math.inf
    since: int = 0

    def after(self, step: int, value: float) -> Best:
        """With one validation more; one that is not finite is not better."""
        if value < self.value:
            return Best(step, value)
        return replace(self, since=self.since + 1)


@dataclass
class Adaptation:
    """The moving parts of a run.

    Attributes:
        recipe: what it does.
        engine: where it computes, and with whom.
        start: its networks, which change, and what they came from.
        optimiser: of everything that trains in any step; a step moves what has a gradient.
        progress: how far it has come.
        bad_in_a_row: steps without a finite gradient since the last one with.
        best: validation.
        last: losses of the last step.
    """

    recipe: AdaptRecipe
    engine: Engine
    start: Start
    optimiser: torch.optim.Optimizer
    progress: Progress = field(default_factory=Progress)
    bad_in_a_row: int = 0
    best: Best = Best()
    last: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, recipe: AdaptRecipe, engine: Engine, *, download: bool = True) -> Adaptation:
        """A run before its first step."""
        with engine.writer_first():
            begun = start(recipe, download=download)
        place(begun.networks, engine)
        paces = dict.fromkeys(begun.networks.depth.parameters(), recipe.depth.rate)
        if recipe.lessons is not None:
            paces |= dict.fromkeys(begun.networks.camera.parameters(), recipe.lessons.rate)
        groups: dict[float, list[Tensor]] = {}
        for parameter in ever_trained(begun.networks, recipe.depth, recipe.schedule):
            groups.setdefault(paces.get(parameter, 1.0), []).append(parameter)
        optimiser = torch.optim.AdamW(
            [{"params": own, "pace": pace} for pace, own in groups.items()],
            lr=recipe.schedule.learning_rate,
            fused=not engine.scales,
        )
        return cls(recipe, engine, begun, optimiser)

    @torch.no_grad()
    def settle_unit(self, footage: Footage) -> None:
        """Count depth in its median over the clips of the first step, if the recipe says so.

        All processes look at all of these clips, so they agree. Where depth is nowhere finite, as
        on black frames, the base's own unit stays.
        """
        networks, recipe = self.start.networks, self.recipe
        if recipe.depth.unit != "median" or not isinstance(networks.depth, EndoDAV):
            return
        networks.eval()
        batch = draw_batch(footage, recipe.data, recipe.seed, 0)
        medians = [
            disparities(networks, part.to(self.engine.device).targets())[0].median()
            for part in chunks(batch, recipe.data.clips_at_once)
        ]
        median = torch.stack(medians).mean()
        if median.isfinite() and median > 0:
            networks.unit.mul_(disparity_from_depth(1.0) / median)

    @property
    def is_over(self) -> bool:
        """Whether all steps are done, or the validations have lost their patience."""
        patience = self.recipe.watch.patience
        lost = patience > 0 and self.best.since >= patience
        return lost or self.progress.step >= self.steps

    def draw(self, footage: Footage, step: int, *, own: bool = True) -> VideoBatch:
        """What a step, or a lesson, sees: the clips of this process, or those of all."""
        recipe = self.recipe
        data = recipe.data_at(step)
        mine = part_of(self.engine.rank, self.engine.processes, data) if own else ALL
        return draw_batch(footage, data, recipe.seed, step, mine)

    @property
    def steps(self) -> int:
        """Of the whole run, lessons among them."""
        return self.recipe.taught + self.recipe.schedule.steps

    def step(self, batch: VideoBatch) -> Record:
        """One step of all phases on the clips of this process, and what to log of it."""
        done = self.progress
        now = plan(self.recipe.schedule, done.step, self.recipe.lessons)
        set_rate([self.optimiser], now.learning_rate)
        record: Record = {}
        good = True
        for phase in phases(self.start.networks, self.recipe, now):
            losses, norm = self._descend(phase, batch)
            good &= math.isfinite(norm)
            record |= {f"{phase.name}/{name}": value for name, value in losses.items()}
            record[f"{phase.name}/norm"] = norm
        self.bad_in_a_row = 0 if good else self.bad_in_a_row + 1
        self.progress = replace(done, step=done.step + 1, skipped=done.skipped + (not good))
        means = self.engine.means(list(record.values()))
        self.last = dict(zip(record, means, strict=True))
        return {
            "step": self.progress.step,
            "temporal": now.temporal,
            "rate": now.learning_rate,
            "skipped": self.progress.skipped,
            **self.last,
        }

    def _descend(self, phase: Phase, batch: VideoBatch) -> tuple[dict[str, Tensor], float]:
        """Move what trains in a phase; its losses before, and the norm of the gradient.

        Some clips after others give what the same clips give in several processes: each part of the
        batch moves the batch norms' statistics from where they were, and their mean is taken.
        """
        phase.prepare()
        self.optimiser.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        statistics = running_statistics(self.start.networks)
        before = [values.clone() for values in statistics]
        after = [torch.zeros_like(values) for values in statistics]
        for part in chunks(batch, self.recipe.data.clips_at_once):
            share = len(part.frames) / len(batch.frames)
            torch._foreach_copy_(statistics, before)
            losses = phase.losses(part.to(self.engine.device))
            torch._foreach_add_(after, statistics, alpha=share)
            self.engine.backward(losses.total * share)
            terms = [("loss", losses.total)]
            terms += [(name.partition("/")[0], value) for name, value in losses.parts.items()]
            for name, value in terms:  # the scales of a term are added up
                sums[name] = sums.get(name, torch.zeros_like(value)) + share * value.detach()
        self.engine.average(after)
        norm = self.engine.move(self.optimiser, self.recipe.schedule.max_gradient_norm)
        torch._foreach_copy_(statistics, after if math.isfinite(norm) else before)
        return sums, norm

    def judge(self, measures: Mapping[str, float]) -> bool:
        """Take note of a validation; whether it is the best so far."""
        value = measures[self.recipe.watch.measure]
        self.best = self.best.after(self.progress.step, value)
        return self.best.since == 0 and self.best.step == self.progress.step

    def weights(self) -> dict[str, Tensor]:
        """Everything of the networks that a new start does not bring back: not the frozen base."""
        networks, recipe = self.start.networks, self.recipe
        trained = {id(p) for p in ever_trained(networks, recipe.depth, recipe.schedule)}
        frozen = {name for name, p in networks.named_parameters() if id(p) not in trained}
        state = networks.state_dict()
        return {name: value for name, value in state.items() if name not in frozen}

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        state = {
            "networks": self.weights(),
            "optimiser": self.optimiser.state_dict(),
            "engine": self.engine.state(),
            "progress": asdict(self.progress),
            "bad_in_a_row": self.bad_in_a_row,
            "best": asdict(self.best),
            "last": self.last,
        }
        write_state(path, state)

    def restore(self, path: Path) -> None:
        """Go back to a checkpoint.

        Raises:
            RecipeError: it does not fit the recipe.
        """
        state = torch.load(path, weights_only=True, map_location=self.engine.device)
        self.load_weights(state["networks"], path)
        try:
            self.optimiser.load_state_dict(state["optimiser"])
        except ValueError as error:
            raise RecipeError(_misfit(path)) from error
        self.engine.restore(state["engine"])
        self.progress = Progress(**state["progress"])
        self.bad_in_a_row = state["bad_in_a_row"]
        self.best = Best(**state["best"])
        self.last = state["last"]

    def load_weights(self, weights: Mapping[str, Tensor], path: Path) -> None:
        """Let the networks have what `weights` gave.

        Raises:
            RecipeError: they are others; `path` is where they came from.
        """
        own = self.start.networks.state_dict()
        if not weights.keys() <= own.keys():
            raise RecipeError(_misfit(path))
        self.start.networks.load_state_dict(own | dict(weights))

    @property
    def product(self) -> str:
        """Name of the file that the run delivers."""
        return MODEL_FILE if self.start.base is None else ADAPTER_FILE

    def export(self, path: Path, step: int, metrics: Mapping[str, float]) -> None:
        """Write what was learned about depth: an adapter, or the whole of a network without base.

        The header holds the recipe, the base's hash, and the step and metrics of these weights.
        """
        about = {
            "recipe": self.recipe.model_dump_json(),
            "metrics": json.dumps(dict(metrics)),
            "steps": str(step),
            "imagenet": str(self.start.imagenet is not None).lower(),
            "endodav_version": version("endodav"),
        }
        depth, preset, base = self.start.networks.depth, self.start.preset, self.start.base
        if base is None:
            save_model(path, depth, preset, about)
        else:
            save_adapter(path, depth, preset, base, about)


def _misfit(path: Path) -> str:
    return f"{path} does not fit the recipe; train in a new folder."


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and numbers for `torch.load`, whole or not at all.

    Raises:
        OutputError: there is no room, or no permission.
    """
    try:
        with written_whole(path) as partial:
            torch.save(dict(state), partial)
    except (OSError, RuntimeError) as error:
        raise OutputError(
            f"{path} cannot be written ({error}); free some space and resume the run."
        ) from error
