"""A run's moving parts: network, optimisers, average and progress, on disk and off."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from endodav.errors import RecipeError
from endodav.models.depth import build
from endodav.models.presets import PRESETS
from endodav.training import checkpoint
from endodav.training.checkpoint import Progress
from endodav.training.data import Batch
from endodav.training.engine import Engine
from endodav.training.optimiser import optimisers_of, set_rate
from endodav.training.recipe import TrainRecipe
from endodav.training.schedule import AveragedWeights, learning_rate
from endodav.training.start import initial_model, load_teacher, provenance
from endodav.training.steps import Teacher, training_losses
from endodav.weights.checkpoint import write_safetensors
from endodav.weights.runs import MODEL_FILE, preset_to_json

BAD_BATCH_FILE = "bad_batch.pt"


@dataclass
class Run:
    """The moving parts of a run."""

    recipe: TrainRecipe
    folder: Path
    engine: Engine
    model: nn.Module
    average: AveragedWeights
    optimisers: tuple[torch.optim.Optimizer, ...]
    teacher: Teacher | None
    progress: Progress = field(default_factory=Progress)
    skipped_in_a_row: int = 0
    updating: bool = False  # weights, average and progress do not belong together at this moment

    @classmethod
    def of(cls, recipe: TrainRecipe, folder: Path, engine: Engine) -> Run:
        """A run at its very start; all processes begin with the same weights."""
        device = engine.device
        with engine.writer_first():  # which downloads what the others then find
            model = initial_model(recipe, folder).to(device)
        optimisers = optimisers_of(model, recipe.optimiser)
        average = AveragedWeights(model, recipe.optimiser.ema_decay)
        teacher = None if recipe.distil is None else load_teacher(recipe.distil, device)
        return cls(recipe, folder, engine, model, average, optimisers, teacher)

    def step(self, batch: Batch, share_done: float) -> dict[str, Tensor | float]:
        """One optimiser step on this process's batch, and what to log of it.

        All processes change their weights by the mean of their gradients. `share_done` of the run
        sets the learning rate.

        Raises:
            RecipeError: the loss has not been finite for too many steps in a row.
        """
        settings = self.recipe.optimiser
        rate = learning_rate(settings, self.progress.step, share_done)
        set_rate(self.optimisers, rate)
        autocast = torch.bfloat16 if self.recipe.precision == "bfloat16" else None
        batch = batch.to(self.engine.device)
        losses = training_losses(self.model, batch, self.recipe.loss, autocast, self.teacher)
        self.model.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]
        self.engine.average(p.grad for p in self.model.parameters() if p.grad is not None)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), settings.max_gradient_norm)
        # One bad batch must not poison the weights for ever.
        finite = bool(norm.isfinite())
        self.skipped_in_a_row = 0 if finite else self.skipped_in_a_row + 1
        if self.skipped_in_a_row == settings.max_skipped:
            self._give_up(batch)
        self._update(finite)
        parts = {"loss": losses.total, **losses.parts}
        return {**parts, "norm": norm, "rate": rate, "skipped": self.progress.skipped}

    def _update(self, finite: bool) -> None:
        self.updating = True
        if finite:
            for optimiser in self.optimisers:
                optimiser.step()
            self.average.update(self.model, self.progress.step)
        done = self.progress
        self.progress = replace(done, step=done.step + 1, skipped=done.skipped + (not finite))
        self.updating = False

    def _give_up(self, batch: Batch) -> None:
        path = self.folder / BAD_BATCH_FILE
        if self.engine.writes:  # all processes give up at once
            torch.save([part and part._asdict() for part in batch], path)
        raise RecipeError(
            f"The loss was not finite in {self.skipped_in_a_row} steps in a row, up to step"
            f" {self.progress.step}, whose batch is in '{path}': lower 'optimiser.learning_rate'."
        )

    def restore(self) -> None:
        """Go back to the newest checkpoint, or stay at the start where there is none."""
        folder = self.folder / "checkpoints"
        self.progress = checkpoint.restore(folder, self.model, self.average, self.optimisers)

    def save(self) -> None:
        """Write a checkpoint, unless an interrupted update left nothing worth keeping."""
        if self.updating or not self.engine.writes:
            return
        folder = self.folder / "checkpoints"
        checkpoint.save(folder, self.progress, self.model, self.average, self.optimisers)

    def averaged_model(self) -> nn.Module:
        """A model of its own with the averaged weights, ready to predict."""
        model = build(PRESETS[self.recipe.preset])
        model.load_state_dict(self.average.state)
        return model.eval().to(self.engine.device)

    def export(self) -> Path:
        """Write the averaged weights for use."""
        path = self.folder / MODEL_FILE
        licence, permissive, origin = provenance(self.recipe, self.folder)
        preset = replace(
            PRESETS[self.recipe.preset],
            name=self.recipe.name,
            licence=licence,
            permissive=permissive,
            origin=origin,
            repo_id=None,
            filename=None,
            sha256=None,
        )
        metadata = {
            "preset": preset_to_json(preset),
            "recipe": self.recipe.model_dump_json(exclude={"watch"}),
            "seed": str(self.recipe.seed),
            "steps": str(self.progress.step),
            "licence": licence,
            "origin": origin,
            "endodav_version": version("endodav"),
        }
        write_safetensors(path, checkpoint.half_precision(self.average.state), metadata)
        return path
