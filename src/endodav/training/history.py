"""Which program made a run: a line in the run folder at every start and resumption."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

PACKAGES = ("endodav", "torch", "numpy")


def record_start(path: Path, step: int, device: torch.device) -> None:
    """Append the step the run begins at, the commit, the versions and the machine to `path`.

    Args:
        path: JSON, an object a line.
        step: from which the run goes on.
        device: where it trains.
    """
    entry = {
        "step": step,
        "commit": commit(),
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "device": str(device),
        "threads": torch.get_num_threads(),
    }
    with path.open("a") as file:
        file.write(json.dumps(entry) + "\n")


def commit() -> str | None:
    """Commit of the source tree, with "-dirty" if it was changed since; None where it is none."""
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
