"""The training loop: plain, exactly resumable, and done when its steps or its minutes are."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from endodav.errors import OutputError, RecipeError
from endodav.inference.memory import memory_explained
from endodav.training.data import batches
from endodav.training.diary import Diary
from endodav.training.engine import launch
from endodav.training.recipe import TrainRecipe, read_recipe, write_recipe
from endodav.training.rendering import rendering_ahead
from endodav.training.run import Run
from endodav.training.start import BEFORE
from endodav.training.watch import Record, Report, Stopwatch
from endodav.weights.runs import MODEL_FILE

RECIPE_FILE = "recipe.yaml"
WHAT_TO_LOWER = "lower 'batch.clip_frames', 'batch.images' or 'batch.sizes' in the recipe"


def silent(record: Record) -> None:
    """Report nothing."""


def train(
    recipe: TrainRecipe,
    run_dir: Path,
    *,
    resume: bool = False,
    minutes: float | None = None,
    device: str = "cpu",
    progress: Report = silent,
) -> Path:
    """Train by `recipe` in `run_dir` and return the path of the weights, `model.safetensors`.

    A recipe that begins with another one has that trained first, in `run_dir`/before.
    The folder gets recipe.yaml, history.jsonl (program and machine of every start), log.jsonl,
    curves.html, samples/, checkpoints/ and clips/ (rendered again if deleted).
    The same recipe gives the same weights on the same machine, however often it is interrupted and
    resumed; only `minutes` makes the schedule depend on the clock. In every step each of the
    processes that `torchrun` started sees a batch of the recipe's size; the first of them renders,
    evaluates and writes.

    Args:
        recipe: what to train.
        run_dir: made if absent.
        resume: go on from the newest checkpoint in `run_dir` that is whole.
        minutes: training time over all resumptions after which the run is to be complete; the
            learning rate falls in time for it where the recipe's steps would take longer. What
            comes before has its share of it, by its steps.
        device: where the network trains: "cpu", "cuda", "cuda:1", "mps" or "auto".
        progress: called with every record of the log.

    Raises:
        OutputError: the folder holds a run and `resume` is not wanted, or it cannot be written.
        RecipeError: there is nothing to resume, it is a run of another recipe, memory is short, or
            the loss stays without a finite value.
        InputError: the folder to watch is no SimCol3D folder.
    """
    try:
        return _train(recipe, run_dir, resume, minutes, device, progress)
    except OSError as error:
        raise OutputError(
            f"The run in '{run_dir}' cannot be written ({error}): make room or go elsewhere."
        ) from error


def _train(
    recipe: TrainRecipe,
    run_dir: Path,
    resume: bool,
    minutes: float | None,
    device: str,
    report: Report,
) -> Path:
    engine = launch(device, "fp32")  # the recipe's precision is that of the forward pass alone
    _check_folder(recipe, run_dir, resume)
    engine.wait()
    if engine.writes:
        run_dir.mkdir(parents=True, exist_ok=True)
        write_recipe(recipe, run_dir / RECIPE_FILE)
    if (earlier := recipe.before) is not None:
        share = earlier.steps_in_all / recipe.steps_in_all
        _train_before(earlier, run_dir, minutes and minutes * share, device, report)
        minutes = minutes and minutes * (1 - share)
    run = Run.of(recipe, run_dir, engine)
    if resume:
        run.restore()
    diary = Diary(run, report) if engine.writes else None
    engine.wait()
    try:
        with memory_explained(engine.device, WHAT_TO_LOWER):
            _loop(run, diary, minutes)
    except (KeyboardInterrupt, SystemExit):
        run.save()
        raise
    run.save()
    if diary is not None:
        diary.evaluate(picture=True)
        run.export()
    engine.wait()
    return run_dir / MODEL_FILE


def _train_before(
    recipe: TrainRecipe, run_dir: Path, minutes: float | None, device: str, report: Report
) -> None:
    """Have the weights of the recipe that the run in `run_dir` goes on from."""
    folder = run_dir / BEFORE
    begun, done = ((folder / file).exists() for file in (RECIPE_FILE, MODEL_FILE))
    if not done:
        _train(recipe, folder, begun, minutes, device, report)


def _check_folder(recipe: TrainRecipe, run_dir: Path, resume: bool) -> None:
    path = run_dir / RECIPE_FILE
    if resume:
        if not path.exists():
            raise RecipeError(f"There is no run in '{run_dir}' to resume: train without resuming.")
        if read_recipe(path) != recipe:
            raise RecipeError(
                f"The run in '{run_dir}' has another recipe: resume it with its own recipe.yaml."
            )
    elif path.exists():
        raise OutputError(f"'{run_dir}' already holds a run: resume it or choose another folder.")


def _loop(run: Run, diary: Diary | None, minutes: float | None) -> None:
    clips, engine = run.folder / "clips", run.engine
    before, started = run.progress.seconds, time.monotonic()
    computing = Stopwatch()
    with rendering_ahead(run.recipe, clips, run.progress.step, engine.writes) as reached:
        for batch in batches(run.recipe, clips, run.progress.step, engine.rank):
            share_done = run.progress.step / run.recipe.steps
            if minutes is not None:  # on which all processes have to agree
                (time_done,) = engine.means([run.progress.seconds / (60 * minutes)])
                share_done = max(share_done, time_done)
            if share_done >= 1:
                break
            with computing:
                record = run.step(batch, share_done)
            seconds = before + time.monotonic() - started
            run.progress = replace(run.progress, seconds=seconds)
            reached.value = run.progress.step
            if diary is not None:
                diary.after_step(record, computing)
