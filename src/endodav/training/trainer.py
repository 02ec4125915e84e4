"""The training loop: plain, exactly resumable, and done when its steps or its minutes are."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from endodav.errors import OutputError, RecipeError
from endodav.models.depth import build
from endodav.models.presets import PRESETS
from endodav.training import checkpoint
from endodav.training.checkpoint import Progress
from endodav.training.data import Batch, batches
from endodav.training.recipe import TrainRecipe, read_recipe, write_recipe
from endodav.training.schedule import AveragedWeights, learning_rate, parameter_groups
from endodav.training.steps import training_losses
from endodav.training.watch import Log, Record, Report, Watcher
from endodav.weights.checkpoint import write_safetensors
from endodav.weights.runs import MODEL_FILE, preset_to_json

LICENCE = "Apache-2.0"
ORIGIN = "trained from nothing on clips that endodav.synthetic renders"


@dataclass
class _Run:
    """The moving parts of a run."""

    recipe: TrainRecipe
    folder: Path
    model: nn.Module
    average: AveragedWeights
    optimiser: torch.optim.Optimizer
    progress: Progress = field(default_factory=Progress)

    @classmethod
    def of(cls, recipe: TrainRecipe, folder: Path) -> _Run:
        torch.manual_seed(recipe.seed)
        model = build(PRESETS[recipe.preset]).train()
        groups = parameter_groups(model, recipe.optimiser.weight_decay)
        optimiser = torch.optim.AdamW(groups, lr=recipe.optimiser.learning_rate)
        return cls(
            recipe, folder, model, AveragedWeights(model, recipe.optimiser.ema_decay), optimiser
        )

    def step(self, batch: Batch, share_done: float) -> Record:
        """One optimiser step, and what to log of it."""
        settings = self.recipe.optimiser
        rate = learning_rate(settings, self.progress.step, share_done)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        autocast = torch.bfloat16 if self.recipe.precision == "bfloat16" else None
        losses = training_losses(self.model, batch, self.recipe.loss, autocast)
        self.optimiser.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), settings.max_gradient_norm)
        # One bad batch must not poison the weights for ever; the log shows it by its norm.
        if norm.isfinite():
            self.optimiser.step()
            self.average.update(self.model, self.progress.step)
        parts = {name: round(value.item(), 5) for name, value in losses.parts.items()}
        return {"loss": round(losses.total.item(), 5), **parts, "norm": norm.item(), "rate": rate}

    def save(self) -> None:
        """Write a checkpoint."""
        folder = self.folder / "checkpoints"
        checkpoint.save(folder, self.progress, self.model, self.average, self.optimiser)

    def averaged_model(self) -> nn.Module:
        """A model of its own with the averaged weights, ready to predict."""
        model = build(PRESETS[self.recipe.preset])
        model.load_state_dict(self.average.state)
        return model.eval()

    def export(self) -> Path:
        """Write the averaged weights for use."""
        path = self.folder / MODEL_FILE
        preset = replace(
            PRESETS[self.recipe.preset],
            name=self.recipe.name,
            licence=LICENCE,
            permissive=True,
            origin=ORIGIN,
            repo_id=None,
            filename=None,
            sha256=None,
        )
        metadata = {
            "preset": preset_to_json(preset),
            "recipe": self.recipe.model_dump_json(exclude={"watch"}),
            "seed": str(self.recipe.seed),
            "steps": str(self.progress.step),
            "licence": LICENCE,
            "origin": ORIGIN,
            "endodav_version": version("endodav"),
        }
        write_safetensors(path, checkpoint.half_precision(self.average.state), metadata)
        return path


def silent(record: Record) -> None:
    """Report nothing."""


def train(
    recipe: TrainRecipe,
    run_dir: Path,
    *,
    resume: bool = False,
    minutes: float | None = None,
    progress: Report = silent,
) -> Path:
    """Train by `recipe` in `run_dir` and return the path of the weights, `model.safetensors`.

    The folder gets recipe.yaml, log.jsonl, checkpoints/ and clips/ (rendered once, safe to delete).
    The same recipe gives the same weights on the same machine, however often it is interrupted and
    resumed; only `minutes` makes the schedule depend on the clock.

    Args:
        recipe: what to train.
        run_dir: made if absent.
        resume: go on from the newest checkpoint in `run_dir`.
        minutes: training time over all resumptions after which the run is to be complete; the
            learning rate falls in time for it where the recipe's steps would take longer.
        progress: called with every record of the log.

    Raises:
        OutputError: the folder holds a run and `resume` is not wanted, or it cannot be written.
        RecipeError: there is nothing to resume, or it is a run of another recipe.
        InputError: the folder to watch is no SimCol3D folder.
    """
    try:
        return _train(recipe, run_dir, resume, minutes, progress)
    except OSError as error:
        raise OutputError(
            f"The run in '{run_dir}' cannot be written ({error}): make room or go elsewhere."
        ) from error


def _train(
    recipe: TrainRecipe, run_dir: Path, resume: bool, minutes: float | None, report: Report
) -> Path:
    _check_folder(recipe, run_dir, resume)
    run = _Run.of(recipe, run_dir)
    if resume:
        folder = run_dir / "checkpoints"
        run.progress = checkpoint.restore(folder, run.model, run.average, run.optimiser)
    log = Log(run_dir / "log.jsonl", report, run.progress.step)
    watcher = Watcher(recipe, run_dir / "clips")
    try:
        _loop(run, log, watcher, minutes)
    except KeyboardInterrupt:
        run.save()
        raise
    run.save()
    log.write({"step": run.progress.step, **watcher.evaluate(run.averaged_model())})
    return run.export()


def _check_folder(recipe: TrainRecipe, run_dir: Path, resume: bool) -> None:
    path = run_dir / "recipe.yaml"
    if resume:
        if not path.exists():
            raise RecipeError(f"There is no run in '{run_dir}' to resume: train without resuming.")
        if read_recipe(path) != recipe:
            raise RecipeError(
                f"The run in '{run_dir}' has another recipe: resume it with its own recipe.yaml."
            )
    elif path.exists():
        raise OutputError(f"'{run_dir}' already holds a run: resume it or choose another folder.")
    else:
        run_dir.mkdir(parents=True, exist_ok=True)
        write_recipe(recipe, path)


def _loop(run: _Run, log: Log, watcher: Watcher, minutes: float | None) -> None:
    watch = run.recipe.watch
    before = run.progress.seconds
    started = saved = time.monotonic()
    for batch in batches(run.recipe, run.folder / "clips", run.progress.step):
        share_done = run.progress.step / run.recipe.steps
        if minutes is not None:
            share_done = max(share_done, run.progress.seconds / (60 * minutes))
        if share_done >= 1:
            break
        record = run.step(batch, share_done)
        step, now = run.progress.step + 1, time.monotonic()
        run.progress = replace(run.progress, step=step, seconds=before + now - started)
        if step % watch.log_steps == 0:
            log.write({"step": step, "seconds": round(run.progress.seconds, 1), **record})
        if step % watch.evaluate_steps == 0:
            log.write({"step": step, **watcher.evaluate(run.averaged_model())})
        if now - saved > 60 * watch.checkpoint_minutes:
            run.save()
            saved = now
