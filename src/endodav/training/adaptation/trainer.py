"""The self-supervised run: footage in, an adapter out; resumed is uninterrupted."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from endodav.errors import OutputError, RecipeError
from endodav.models.adapters import train_only
from endodav.training.adaptation.batch import VideoBatch
from endodav.training.adaptation.data import draw_batch
from endodav.training.adaptation.decomposition import decomposition_phase, observe_light
from endodav.training.adaptation.footage import Footage
from endodav.training.adaptation.networks import RegistrationNetworks
from endodav.training.adaptation.recipe import (
    AdaptRecipe,
    DecompositionLossRecipe,
    RegistrationLossRecipe,
)
from endodav.training.adaptation.schedule import (
    StepPlan,
    depth_parameters,
    ever_trained,
    plan,
)
from endodav.training.adaptation.start import Start, start
from endodav.training.adaptation.step import depth_phase, flow_phase, observe
from endodav.training.adaptation.terms import Losses
from endodav.training.checkpoint import Progress
from endodav.training.watch import Log, Report
from endodav.weights.adapters import save_adapter
from endodav.weights.checkpoint import write_safetensors
from endodav.weights.runs import ADAPTER_FILE, MODEL_FILE

RECIPE_FILE, LOG_FILE, CHECKPOINT_FILE = "recipe.yaml", "log.jsonl", "checkpoint.pt"
BAD_BATCH_FILE = "bad_batch.pt"
MAX_BAD_STEPS = 10  # in a row, before a run that has diverged is stopped


@dataclass
class Adaptation:
    """The moving parts of a run.

    Attributes:
        recipe: what it does.
        start: its networks, which change, and what they came from.
        optimiser: of everything that trains in any step; a step moves what has a gradient.
        progress: how far it has come.
        bad_in_a_row: steps without a finite gradient since the last one with.
    """

    recipe: AdaptRecipe
    start: Start
    optimiser: torch.optim.Optimizer
    progress: Progress = field(default_factory=Progress)
    bad_in_a_row: int = 0

    @classmethod
    def of(cls, recipe: AdaptRecipe, device: torch.device, *, download: bool = True) -> Adaptation:
        """A run before its first step."""
        begun = start(recipe, download=download)
        begun.networks.to(device)
        parameters = ever_trained(begun.networks, recipe.depth, recipe.schedule)
        optimiser = torch.optim.AdamW(parameters, lr=recipe.schedule.learning_rate, fused=True)
        return cls(recipe, begun, optimiser)

    def step(self, batch: VideoBatch) -> dict[str, Any]:
        """One step of all phases, and what to log of it."""
        now = plan(self.recipe.schedule, self.progress.step)
        for group in self.optimiser.param_groups:
            group["lr"] = now.learning_rate
        record: dict[str, Any] = {"step": self.progress.step, "temporal": now.temporal}
        good = True
        for name, losses in self._phases(batch, now):
            norm = self._descend(losses)
            good &= math.isfinite(norm)
            parts = {f"{name}/{part}": value.detach() for part, value in _by_term(losses).items()}
            record |= {f"{name}/loss": losses.total.detach(), f"{name}/norm": norm} | parts
        self.bad_in_a_row = 0 if good else self.bad_in_a_row + 1
        self.progress = Progress(
            self.progress.step + 1, self.progress.seconds, self.progress.skipped + (not good)
        )
        return record

    def _phases(self, batch: VideoBatch, now: StepPlan) -> Iterator[tuple[str, Losses]]:
        """Each phase's losses; the one before has been descended when the next is computed."""
        networks, weights = self.start.networks, self.recipe.loss
        depth = depth_parameters(networks.depth, self.recipe.depth, now)
        if isinstance(networks, RegistrationNetworks):
            assert isinstance(weights, RegistrationLossRecipe)
            networks.train_flow()
            train_only(networks, list(networks.flow.parameters()))
            yield "flow", flow_phase(networks, batch, weights)
            networks.train_depth()
            train_only(networks, [*depth, *networks.companions()])
            scene = observe(networks, batch)
            yield "depth", depth_phase(scene, batch, weights, temporal=now.temporal)
        else:
            assert isinstance(weights, DecompositionLossRecipe)
            networks.train()
            train_only(networks, [*depth, *networks.companions()])
            lit = observe_light(networks, batch)
            yield "depth", decomposition_phase(networks.adjust, lit, batch, weights)

    def _descend(self, losses: Losses) -> float:
        """Move what trains; a gradient that is not finite moves nothing. Returns its norm."""
        self.optimiser.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]
        moving = [p for group in self.optimiser.param_groups for p in group["params"]]
        limit = self.recipe.schedule.max_gradient_norm
        norm = nn.utils.clip_grad_norm_(moving, limit).item()
        if math.isfinite(norm):
            self.optimiser.step()
        return norm

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        state = {
            "networks": _stored(self.start, self.recipe),
            "optimiser": self.optimiser.state_dict(),
            "progress": asdict(self.progress),
            "bad_in_a_row": self.bad_in_a_row,
        }
        partial = path.with_suffix(".partial")
        try:
            torch.save(state, partial)
            partial.replace(path)
        except (OSError, RuntimeError) as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise OutputError(
                f"{path} cannot be written ({error}); free some space and resume the run."
            ) from error

    def restore(self, path: Path) -> None:
        """Go back to a checkpoint.

        Raises:
            RecipeError: it does not fit the recipe.
        """
        device = next(self.start.networks.parameters()).device
        state = torch.load(path, weights_only=True, map_location=device)
        own = self.start.networks.state_dict()
        if not state["networks"].keys() <= own.keys():
            raise RecipeError(f"{path} does not fit the recipe; train in a new folder.")
        self.start.networks.load_state_dict(own | state["networks"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.progress = Progress(**state["progress"])
        self.bad_in_a_row = state["bad_in_a_row"]

    def export(self, folder: Path, metrics: Mapping[str, float]) -> Path:
        """Write what was learned about depth: an adapter, or the whole of a network without base.

        The header holds the recipe, the base's hash and the metrics.
        """
        about = {
            "recipe": self.recipe.model_dump_json(),
            "metrics": json.dumps(dict(metrics)),
            "steps": str(self.progress.step),
            "imagenet": str(self.start.imagenet is not None).lower(),
            "endodav_version": version("endodav"),
        }
        depth, preset, base = self.start.networks.depth, self.start.preset, self.start.base
        if preset is None or base is None:
            path = folder / MODEL_FILE
            write_safetensors(path, depth.state_dict(), about)
        else:
            path = folder / ADAPTER_FILE
            save_adapter(path, depth, preset, base, about)
        return path


def adapt(
    recipe: AdaptRecipe,
    footage: Footage,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    resume: bool = False,
    report: Report = lambda _: None,
    log_steps: int = 10,
    save_steps: int = 100,
    download: bool = True,
) -> Path:
    """Train until the recipe's steps are done; the file it returns is what `endodav depth` takes.

    Args:
        recipe: what to train.
        footage: of at least `recipe.data.targets + 2` frames a clip.
        folder: of the run; must not hold one unless it is resumed.
        device: where the networks train.
        resume: go on from the last checkpoint, if there is one.
        report: told every line of the log.
        log_steps: between two lines.
        save_steps: between two checkpoints.
        download: whether ImageNet weights may be asked for.

    Raises:
        RecipeError: there is a run already, or the losses have stopped being finite.
        WeightsError: the base is not to be had, or cannot be adapted.
        OutputError: the folder cannot be written.
    """
    if (folder / RECIPE_FILE).exists() and not resume:
        raise RecipeError(f"{folder} holds a run already; resume it, or choose another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECIPE_FILE).write_text(
        yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)
    )
    run = Adaptation.of(recipe, torch.device(device), download=download)
    if (folder / CHECKPOINT_FILE).exists():
        run.restore(folder / CHECKPOINT_FILE)
    log = Log(folder / LOG_FILE, report, run.progress.step)
    record: dict[str, Any] = {}
    while run.progress.step < recipe.schedule.steps:
        batch = draw_batch(footage, recipe.data, recipe.seed, run.progress.step).to(device)
        record = run.step(batch)
        _stop_if_lost(run, batch, folder)
        done = run.progress.step
        if done % log_steps == 0 or done == recipe.schedule.steps:
            log.write(record)
        if done % save_steps == 0 or done == recipe.schedule.steps:
            run.save(folder / CHECKPOINT_FILE)
    return run.export(folder, {k: float(v) for k, v in record.items() if "/" in k})


def _stop_if_lost(run: Adaptation, batch: VideoBatch, folder: Path) -> None:
    if run.bad_in_a_row < MAX_BAD_STEPS:
        return
    torch.save({k: v for k, v in vars(batch).items() if v is not None}, folder / BAD_BATCH_FILE)
    raise RecipeError(
        f"The losses were not finite for {MAX_BAD_STEPS} steps in a row; the last batch is in"
        f" {folder / BAD_BATCH_FILE}; lower the learning rate."
    )


def _stored(begun: Start, recipe: AdaptRecipe) -> dict[str, Tensor]:
    """Everything of the networks that a new start does not bring back: not the frozen base."""
    trained = {id(p) for p in ever_trained(begun.networks, recipe.depth, recipe.schedule)}
    frozen = {name for name, p in begun.networks.named_parameters() if id(p) not in trained}
    return {
        name: value for name, value in begun.networks.state_dict().items() if name not in frozen
    }


def _by_term(losses: Losses) -> dict[str, Tensor]:
    """The parts summed over scales."""
    sums: dict[str, Tensor] = {}
    for name, value in losses.parts.items():
        term = name.partition("/")[0]
        sums[term] = sums.get(term, torch.zeros_like(value)) + value
    return sums
