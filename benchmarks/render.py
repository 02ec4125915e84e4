"""How fast does the procedural endoscope render? Prints one JSON object.

OMP_NUM_THREADS=1 python benchmarks/render.py [--device cuda] [--height 112] [--width 140]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from endodav.synthetic import FAMILIES, render_clip


def cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--height", type=int, default=112)
    parser.add_argument("--width", type=int, default=140)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    size = (args.frames, args.height, args.width)
    report: dict[str, object] = {
        "frames_height_width": size,
        "device": torch.cuda.get_device_name() if args.device == "cuda" else cpu_name(),
        "cpu_count": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    for family in FAMILIES:
        render_clip(0, *size, family=family, device=args.device)  # warm up
        rates, core_rates = [], []
        for seed in range(args.repeats):
            start, core_start = time.perf_counter(), time.process_time()
            render_clip(seed, *size, family=family, device=args.device)
            rates.append(args.frames / (time.perf_counter() - start))
            core_rates.append(args.frames / (time.process_time() - core_start))
        report[f"{family}_frames_per_second_median"] = round(statistics.median(rates), 1)
        report[f"{family}_frames_per_core_second_median"] = round(statistics.median(core_rates), 1)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
