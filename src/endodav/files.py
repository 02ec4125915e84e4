"""Files that are whole or not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Where to write a file, which becomes `path` if all goes well, and else is removed.

    The folder is made. What goes wrong is raised as it is; the caller knows what to say of it.
    """
    partial = path.with_name(path.name + ".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        partial.replace(path)
    finally:  # nothing is left under that name once it has been renamed
        with suppress(OSError):
            partial.unlink(missing_ok=True)
