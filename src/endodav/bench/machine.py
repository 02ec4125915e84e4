"""What a measurement was made on: versions, hardware, memory, and how fast matrices multiply."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from endodav.inference.memory import held_by, peak_held_by

MEGABYTE = 2**20
PACKAGES = ("endodav", "torch", "numpy", "av", "openvino", "onnxruntime", "tensorrt")
MATRIX_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MATRIX_REPEATS = 5
CPU_MATRIX, GPU_MATRIX = 2048, 8192  # rows: far beyond the caches, still well under a second
CPU = torch.device("cpu")
CPU_INFO = Path("/proc/cpuinfo")


def versions() -> dict[str, str]:
    """Python's, and those of the packages that speed depends on, if they are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """The machine: what must be equal for two measurements to be comparable, and the load."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def cpu_name() -> str:
    """What the processor calls itself."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def memory_now_mb() -> float:
    """Resident memory of this process at present, in MB (2^20 bytes)."""
    return held_by(CPU) / MEGABYTE


def peak_memory_mb() -> float:
    """Highest resident memory of this process so far, in MB (2^20 bytes)."""
    return peak_held_by(CPU) / MEGABYTE


def peak_vram_mb(device: torch.device) -> float | None:
    """Highest memory that tensors took on a CUDA device so far, in MB; None for other devices."""
    return peak_held_by(device) / MEGABYTE if device.type == "cuda" else None


def matrix_rates(device: torch.device) -> Mapping[str, float]:
    """GFLOP/s of square matrix products, by precision; the best of a few, as others only disturb.

    On a CPU fp16 is left out: few have instructions for it.
    """
    rows = CPU_MATRIX if device.type == "cpu" else GPU_MATRIX
    return {
        name: _matrix_rate(device, dtype, rows)
        for name, dtype in MATRIX_DTYPES.items()
        if device.type != "cpu" or name != "fp16"
    }


def _matrix_rate(device: torch.device, dtype: torch.dtype, rows: int) -> float:
    a, b = (torch.rand(rows, rows, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(1 + MATRIX_REPEATS):  # the first one warms up
        begin = time.perf_counter()
        product = a @ b
        product[0, 0].item()  # waits for the device
        seconds.append(time.perf_counter() - begin)
    return 2 * rows**3 / min(seconds[1:]) / 1e9
