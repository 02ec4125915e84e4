"""How much memory there is: what a process holds, and running out of it told in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch

from endodav.errors import RecipeError

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
