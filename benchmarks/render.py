"""How fast does the procedural endoscope render? Prints one JSON object, and writes it on request.

OMP_NUM_THREADS=1 python benchmarks/render.py [--out benchmarks/results/render.json]

Whole clips, scene and sensor included, at two sizes: every family on one thread, all families on
two processes with one thread each, and every family on a GPU where there is one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from pathlib import Path

import torch
from common import tell

from endodav.bench.machine import hardware, versions
from endodav.synthetic import FAMILIES, render_clip

SIZES = ((112, 140), (224, 280))
PROCESSES = 2


def one_device(family: str, size: tuple[int, int], device: str, args: argparse.Namespace) -> dict:
    """Median frames a second over seeds, by the clock and by the time this process got."""
    render_clip(0, 1, *size, family=family, device=device)  # warm up
    rates, core_rates = [], []
    for seed in range(args.repeats):
        start, core_start = time.perf_counter(), time.process_time()
        render_clip(seed, args.frames, *size, family=family, device=device)
        rates.append(args.frames / (time.perf_counter() - start))
        core_rates.append(args.frames / (time.process_time() - core_start))
    report = {"frames_per_second": round(statistics.median(rates), 1)}
    if device == "cpu":
        report["frames_per_core_second"] = round(statistics.median(core_rates), 1)
    return report


def render_one(job: tuple[int, int, int, int, str]) -> None:
    torch.set_num_threads(1)
    render_clip(*job)


def two_processes(size: tuple[int, int], args: argparse.Namespace) -> float:
    """Frames a second of all families, shared among processes."""
    jobs = [
        (seed, args.frames, *size, family) for seed in range(args.repeats) for family in FAMILIES
    ]
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        pool.map(render_one, [(0, 1, *size, name) for name in FAMILIES], chunksize=1)  # warm up
        start = time.perf_counter()
        pool.map(render_one, jobs, chunksize=1)
        return round(len(jobs) * args.frames / (time.perf_counter() - start), 1)


def measure(size: tuple[int, int], args: argparse.Namespace) -> dict[str, object]:
    devices = {"one_thread": "cpu"} | ({"gpu": "cuda"} if torch.cuda.is_available() else {})
    report: dict[str, object] = {
        name: {family: one_device(family, size, device, args) for family in FAMILIES}
        for name, device in devices.items()
    }
    return report | {"two_processes_frames_per_second": two_processes(size, args)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, object] = {
        "hardware": hardware(),
        "versions": versions(),
        "frames_a_clip": args.frames,
        "clips_a_family": args.repeats,
    }
    report |= {f"{height}x{width}": measure((height, width), args) for height, width in SIZES}
    report["load_average_after"] = os.getloadavg()[0]
    tell(report, args.out)


if __name__ == "__main__":
    main()
