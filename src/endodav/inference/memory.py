"""How much memory there is: what a process holds, and running out of it told in one sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

from endodav.errors import RecipeError

STATUS = Path("/proc/self/status")
CPU_ALLOCATOR = "DefaultCPUAllocator"  # PyTorch has no exception class for the CPU's memory


@contextmanager
def memory_explained(
    device: torch.device, advice: str = "choose a smaller input size, output size or window"
) -> Iterator[None]:
    """Turn running out of memory into advice.

    Raises:
        RecipeError: what was asked for does not fit into the memory of `device` or of the computer.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not (
            isinstance(error, MemoryError | torch.OutOfMemoryError) or CPU_ALLOCATOR in str(error)
        ):
            raise
        raise RecipeError(f"This does not fit into the memory of {device}; {advice}.") from error


def held_by(device: torch.device) -> int:
    """Bytes of memory that this process holds: of the GPU, or of the computer."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def peak_held_by(device: torch.device) -> int:
    """The most bytes it has held so far; of the computer, where no system counts, those of now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if STATUS.exists():  # unlike getrusage's, this figure starts anew with the program
        lines = STATUS.read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(getattr(psutil.Process().memory_info(), "peak_wset", held_by(device)))
