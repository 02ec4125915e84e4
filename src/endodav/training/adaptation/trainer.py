"""The self-supervised run: footage in, an adapter out; resumed is uninterrupted."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from endodav.errors import OutputError, RecipeError
from endodav.inference.memory import memory_explained
from endodav.training.adaptation.data import part_of
from endodav.training.adaptation.diary import AFTER, BEFORE, Diary
from endodav.training.adaptation.footage import Footage
from endodav.training.adaptation.recipe import AdaptRecipe, read_recipe
from endodav.training.adaptation.report import write_report
from endodav.training.adaptation.run import Adaptation, write_state
from endodav.training.adaptation.watch import Watcher
from endodav.training.engine import launch
from endodav.training.history import record_start
from endodav.training.recipe import write_recipe
from endodav.training.trainer import silent
from endodav.training.watch import Report
from endodav.video.ahead import ahead

RECIPE_FILE, CHECKPOINT_FILE, BEST_FILE = "recipe.yaml", "checkpoint.pt", "best.pt"
HISTORY_FILE = "history.jsonl"
BAD_BATCH_FILE = "bad_batch.pt"
MAX_BAD_STEPS = 10  # in a row, before a run that has diverged is stopped
BATCHES_AHEAD = 2  # decoded while a step is computed
WHAT_TO_LOWER = "lower 'data.size', 'data.targets' or 'data.clips_at_once' in the recipe"
MAY_CHANGE: Any = {
    "schedule": {"steps"},
    "watch": {"patience", "picture_steps", "log_steps", "checkpoint_minutes"},
}


def adapt(
    recipe: AdaptRecipe,
    footage: Footage,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
    resume: bool = False,
    tensorboard: bool = False,
    report: Report = silent,
    download: bool = True,
) -> Path:
    """Train until the recipe's steps are done; the file it returns is what `endodav depth` takes.

    The folder gets recipe.yaml, history.jsonl, log.jsonl, pictures/, checkpoint.pt, best.pt where
    there are validations, report.html and report.md. The same recipe gives the same weights on the
    same machine, however often it is interrupted. Processes that `torchrun` started share the clips
    of every step; the first of them writes.

    Args:
        recipe: what to train.
        footage: of at least `recipe.frames` frames a clip; what it holds out is validated on.
        folder: of the run; must not hold one unless it is resumed.
        device: where the networks train.
        precision: "fp32", "bf16", "fp16" or "auto".
        resume: go on from the last checkpoint, if there is one.
        tensorboard: write event files, too.
        report: told every line of the log.
        download: whether ImageNet weights may be asked for.

    Raises:
        RecipeError: there is a run already, or one of another recipe, memory is short, or the
            losses have stopped being finite.
        InputError: the footage has changed meanwhile.
        WeightsError: the base is not to be had, or cannot be adapted.
        OutputError: the folder cannot be written.
    """
    engine = launch(device, precision)
    for step in (0, recipe.taught):  # told before anything is written
        part_of(engine.rank, engine.processes, recipe.data_at(step))
    _check_folder(recipe, folder, resume)
    engine.wait()
    try:
        if engine.writes:
            write_recipe(recipe, folder / RECIPE_FILE)
        run = Adaptation.of(recipe, engine, download=download)
        if (folder / CHECKPOINT_FILE).exists():
            run.restore(folder / CHECKPOINT_FILE)
        else:
            run.settle_unit(footage)
        if engine.writes:
            record_start(folder / HISTORY_FILE, run.progress.step, engine.device)
        watcher = Watcher(recipe, footage, engine)
        with closing(Diary(run, watcher, folder, report, tensorboard)) as diary:
            with memory_explained(engine.device, WHAT_TO_LOWER):
                _loop(run, watcher, diary, footage, folder)
            return _finish(run, diary, folder)
    except OSError as error:
        raise OutputError(
            f"The run in '{folder}' cannot be written ({error}): make room or go elsewhere."
        ) from error


def _check_folder(recipe: AdaptRecipe, folder: Path, resume: bool) -> None:
    path = folder / RECIPE_FILE
    if not path.exists():
        return
    if not resume:
        raise RecipeError(f"{folder} holds a run already; resume it, or choose another folder.")
    before, now = (each.model_dump(exclude=MAY_CHANGE) for each in (read_recipe(path), recipe))
    if before != now:
        raise RecipeError(
            f"The run in {folder} has another recipe; resume it with its own recipe.yaml."
        )


def _loop(
    run: Adaptation,
    watcher: Watcher,
    diary: Diary,
    footage: Footage,
    folder: Path,
) -> None:
    """Steps, and between them a look at the held-out footage, pictures and checkpoints."""
    watch = run.recipe.watch
    saved = begun = time.monotonic()
    before = run.progress.seconds
    if run.progress.step == 0:
        diary.strips(BEFORE)
        if watcher.validates:
            diary.write({"step": 0, "held_out": watcher.validate(run.start.networks)})
    drawn = (run.draw(footage, step) for step in range(run.progress.step, run.steps))
    with closing(ahead(drawn, BATCHES_AHEAD)) as batches:
        while not run.is_over:
            record = run.step(next(batches))
            _stop_if_lost(run, footage, folder)
            now = time.monotonic()
            run.progress = replace(run.progress, seconds=before + now - begun)
            done, last = run.progress.step, run.progress.step == run.steps
            if done % watch.log_steps == 0 or last:
                diary.write({**record, "seconds": run.progress.seconds})
            learned = done > run.recipe.taught
            if watcher.validates and learned and (done % watch.steps == 0 or last):
                _validate(run, watcher, diary, folder)
            if watch.picture_steps and done % watch.picture_steps == 0:
                diary.picture(done)
            if run.is_over or now - saved > 60 * watch.checkpoint_minutes:
                _save(run, folder)
                saved = now


def _validate(run: Adaptation, watcher: Watcher, diary: Diary, folder: Path) -> None:
    """Look at the held-out footage, and keep these weights if none were better."""
    measures = watcher.validate(run.start.networks)
    diary.write({"step": run.progress.step, "held_out": measures})
    if run.judge(measures) and run.engine.writes:
        write_state(folder / BEST_FILE, {"networks": run.weights(), "metrics": measures})


def _save(run: Adaptation, folder: Path) -> None:
    if run.engine.writes:
        run.save(folder / CHECKPOINT_FILE)


def _finish(run: Adaptation, diary: Diary, folder: Path) -> Path:
    """Deliver the best weights, or the last where nothing was held out."""
    run.engine.wait()
    step, metrics = run.progress.step, dict(run.last)
    if run.best.step:
        path = folder / BEST_FILE
        kept = torch.load(path, weights_only=True, map_location=run.engine.device)
        run.load_weights(kept["networks"], path)
        step, metrics = run.best.step, kept["metrics"]
    product = folder / run.product
    if run.engine.writes:
        diary.strips(AFTER)
        diary.picture(step)
        write_report(folder, run, step, metrics)
        run.export(product, step, metrics)
    run.engine.wait()
    return product


def _stop_if_lost(run: Adaptation, footage: Footage, folder: Path) -> None:
    if run.bad_in_a_row < MAX_BAD_STEPS:
        return
    path = folder / BAD_BATCH_FILE
    if run.engine.writes:  # with the clips of all processes, one of which is to blame
        batch = run.draw(footage, run.progress.step - 1, own=False)
        write_state(path, {k: v for k, v in vars(batch).items() if v is not None})
    raise RecipeError(
        f"The losses were not finite for {MAX_BAD_STEPS} steps in a row; the last batch is in"
        f" {path}; lower the learning rate."
    )
