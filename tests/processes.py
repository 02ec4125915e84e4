"""Processes of their own for tests, and what `torchrun` tells those that it starts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def torchrun_environments(processes: int) -> list[dict[str, str]]:
    """Environment variables of each of so many processes on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [
        {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "GROUP_RANK": "0",
            "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "TORCHELASTIC_RUN_ID": "test",
        }
        for rank in range(processes)
    ]


def program(
    text: str, *arguments: object, beside: Path, **environment: str
) -> subprocess.Popen[str]:
    """Start Python on a text that may import the files in the folder of the file `beside`."""
    path = os.pathsep.join([str(beside.parent), os.environ.get("PYTHONPATH", "")])
    own = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path} | environment
    return subprocess.Popen(
        [sys.executable, "-c", text, *map(str, arguments)],
        env=own,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_when(
    reached: Callable[[], object], process: subprocess.Popen[str], *, within: float
) -> None:
    """Kill a process in a way it cannot notice, once it has come so far; within so many seconds."""
    deadline = time.monotonic() + within
    while not reached():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def all_end_well(*processes: subprocess.Popen[str], within: float) -> None:
    """Wait for each so many seconds; says what one said that does not end well."""
    for process in processes:
        _, said = process.communicate(timeout=within)
        assert process.returncode == 0, said
