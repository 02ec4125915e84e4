"""What every command says and how: people read stderr, programs read one JSON object on stdout."""

import json
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Item = TypeVar("Item")

# Into a file or a pipe a table keeps its columns whole, however narrow 80 characters are.
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class _Rate(ProgressColumn):
    """Frames a second, smoothed by rich."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} frames/s")


def track(items: Iterable[Item], what: str, total: int | None, quiet: bool) -> Iterator[Item]:
    """Yield `items` behind a progress bar with frames a second and time left."""
    if quiet:
        yield from items
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as progress:
        yield from progress.track(items, total=total, description=what)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show each warning once, as one sentence, without file names and source lines."""
    said: set[str] = set()

    def show(message: Warning | str, *_args: Any, **_kwargs: Any) -> None:
        if str(message) not in said:
            said.add(str(message))
            err.print(f"endodav: {message}", markup=False)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield


def emit_json(value: Any) -> None:
    """Print one JSON object, for scripts."""
    print(json.dumps(value))
