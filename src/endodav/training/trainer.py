"""The training loop: plain, exactly resumable, and done when its steps or its minutes are."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from endodav.errors import OutputError, RecipeError
from endodav.inference.memory import memory_explained
from endodav.inference.settings import choose_device
from endodav.training.clips import ClipStore
from endodav.training.curves import write_curves
from endodav.training.data import batches, forget_old_clips
from endodav.training.history import record_start
from endodav.training.recipe import TrainRecipe, read_recipe, write_recipe
from endodav.training.rendering import rendering_ahead
from endodav.training.run import Run
from endodav.training.watch import Log, Record, Report, Stopwatch, Watcher

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

    The folder gets recipe.yaml, history.jsonl (program and machine of every start), log.jsonl,
    curves.html, samples/, checkpoints/ and clips/ (rendered again if deleted).
    The same recipe gives the same weights on the same machine, however often it is interrupted and
    resumed; only `minutes` makes the schedule depend on the clock.

    Args:
        recipe: what to train.
        run_dir: made if absent.
        resume: go on from the newest checkpoint in `run_dir` that is whole.
        minutes: training time over all resumptions after which the run is to be complete; the
            learning rate falls in time for it where the recipe's steps would take longer.
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
    on = choose_device(device)
    _check_folder(recipe, run_dir, resume)
    run = Run.of(recipe, run_dir, on)
    if resume:
        run.restore()
    ClipStore(run_dir / "clips", recipe.clips, recipe.wants_flow).tidy()
    record_start(run_dir / "history.jsonl", run.progress.step, on)
    log = Log(run_dir / "log.jsonl", report, run.progress.step)
    watcher = Watcher(recipe, run_dir / "clips")
    try:
        with memory_explained(on, WHAT_TO_LOWER):
            _loop(run, log, watcher, minutes)
    except (KeyboardInterrupt, SystemExit):
        run.save()
        raise
    run.save()
    _evaluate(run, log, watcher, picture=True)
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


def _loop(run: Run, log: Log, watcher: Watcher, minutes: float | None) -> None:
    watch, clips = run.recipe.watch, run.folder / "clips"
    before = run.progress.seconds
    started = saved = time.monotonic()
    computing = Stopwatch()
    with rendering_ahead(run.recipe, clips, run.progress.step) as reached:
        for batch in batches(run.recipe, clips, run.progress.step):
            share_done = run.progress.step / run.recipe.steps
            if minutes is not None:
                share_done = max(share_done, run.progress.seconds / (60 * minutes))
            if share_done >= 1:
                break
            with computing:
                record = run.step(batch, share_done)
            now = time.monotonic()
            run.progress = replace(run.progress, seconds=before + now - started)
            step = reached.value = run.progress.step
            if step % watch.log_steps == 0:
                share = computing.share()
                seconds = run.progress.seconds
                log.write({"step": step, "seconds": seconds, "utilisation": share, **record})
            if step % watch.evaluate_steps == 0 and step < run.recipe.steps:
                number = step // watch.evaluate_steps
                _evaluate(run, log, watcher, picture=number % watch.sample_evaluations == 0)
            if now - saved > 60 * watch.checkpoint_minutes:
                run.save()
                forget_old_clips(run.recipe, clips, step)
                saved = now


def _evaluate(run: Run, log: Log, watcher: Watcher, *, picture: bool) -> None:
    """Log the errors of the averaged weights, and show them where wanted."""
    step = run.progress.step
    path = run.folder / "samples" / f"{step:08d}.png" if picture else None
    log.write({"step": step, **watcher.evaluate(run.averaged_model(), path)})
    write_curves(run.folder / "log.jsonl", run.folder / "curves.html")
