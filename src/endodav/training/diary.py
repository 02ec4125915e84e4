"""What a run leaves behind as it goes on: history, log, evaluations, checkpoints."""

from __future__ import annotations

import time

from endodav.training.clips import ClipStore
from endodav.training.curves import write_curves
from endodav.training.data import forget_old_clips
from endodav.training.history import record_start
from endodav.training.run import Run
from endodav.training.watch import Log, Record, Report, Stopwatch, Watcher


class Diary:
    """Kept by the process that writes.

    Args:
        run: restored already.
        report: told every line of the log.
    """

    def __init__(self, run: Run, report: Report) -> None:
        self._run = run
        recipe, self._clips = run.recipe, run.folder / "clips"
        for own in recipe.renderings:
            ClipStore(self._clips, own.clips, own.wants_flow).tidy()
        record_start(run.folder / "history.jsonl", run.progress.step, run.engine.device)
        self._log = Log(run.folder / "log.jsonl", report, run.progress.step)
        self._watcher = Watcher(recipe, self._clips)
        self._saved = time.monotonic()

    def after_step(self, record: Record, computing: Stopwatch) -> None:
        """Log, evaluate and save where it is time to.

        Args:
            record: of the step just made.
            computing: has run during steps only.
        """
        run, watch = self._run, self._run.recipe.watch
        step = run.progress.step
        if step % watch.log_steps == 0:
            clock = {"seconds": run.progress.seconds, "utilisation": computing.share()}
            self._log.write({"step": step, **clock, **record})
        if step % watch.evaluate_steps == 0 and step < run.recipe.steps:
            number = step // watch.evaluate_steps
            self.evaluate(picture=number % watch.sample_evaluations == 0)
        now = time.monotonic()
        if now - self._saved > 60 * watch.checkpoint_minutes:
            run.save()
            forget_old_clips(run.recipe, self._clips, step)
            self._saved = now

    def evaluate(self, *, picture: bool) -> None:
        """Log the errors of the averaged weights, and show them where wanted."""
        run, step = self._run, self._run.progress.step
        path = run.folder / "samples" / f"{step:08d}.png" if picture else None
        self._log.write({"step": step, **self._watcher.evaluate(run.averaged_model(), path)})
        write_curves(run.folder / "log.jsonl", run.folder / "curves.html")
