"""What a run leaves to be looked at: its log, its pictures, and event files where wanted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from endodav.training.adaptation.events import EventFiles
from endodav.training.adaptation.pictures import below
from endodav.training.adaptation.run import Adaptation
from endodav.training.adaptation.watch import Watcher, write_picture
from endodav.training.watch import Log, Report

LOG_FILE, PICTURES, EVENTS = "log.jsonl", "pictures", "tensorboard"
BEFORE, AFTER = "before", "after"


class Diary:
    """Written by one process; in all others nothing happens.

    Args:
        run: that it is about.
        watcher: of its footage.
        folder: of the run.
        report: told every line of the log.
        tensorboard: whether event files are wanted.

    Raises:
        RecipeError: they are, but TensorBoard is not installed.
    """

    def __init__(
        self, run: Adaptation, watcher: Watcher, folder: Path, report: Report, tensorboard: bool
    ) -> None:
        self._run, self._watcher = run, watcher
        self._pictures = folder / PICTURES
        self._writes = run.engine.writes
        step = run.progress.step
        self._log = Log(folder / LOG_FILE, report, step) if self._writes else None
        wanted = tensorboard and self._writes
        self._events = EventFiles(folder / EVENTS, step) if wanted else None

    def write(self, record: Mapping[str, Any]) -> None:
        """One line of the log."""
        if self._log is not None:
            self._log.write(record)
        if self._events is not None:
            self._events.write(record)

    def picture(self, step: int) -> None:
        """The parts of a step by the networks as they are, which have learned for `step` steps."""
        if self._writes:
            shown = self._watcher.picture(self._run.start.networks)
            write_picture(self._pictures / f"{step:08d}.png", shown)
            if self._events is not None:
                self._events.show("parts", shown, step)

    def strips(self, when: str) -> None:
        """Depth over time by the networks as they are, to be compared with other times."""
        if self._writes:
            for number, (frames, depth) in enumerate(
                self._watcher.strips(self._run.start.networks)
            ):
                shown = below([frames, depth]) if when == BEFORE else depth
                write_picture(self._pictures / f"{when}-{number}.png", shown)

    def close(self) -> None:
        """No line will follow."""
        if self._events is not None:
            self._events.close()
