"""Does memory grow with the length of the video? Prints one JSON object; exits 1 if it does.

python benchmarks/memory.py [--frames 300 3000] [--format npz] [--limit-mb 60]

Each length runs in a process of its own, through the real engine and the real sink, into a
temporary folder that is removed. Frames are made one by one. The network is `endodav-tiny` with
random weights at a small input, so that a run takes minutes: peak memory depends on sizes, not on
what the weights are. 3,000 frames of 1280x720 as NPZ need 11 GB of disk, twice that while the
archive is packed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from endodav.bench.machine import MEGABYTE, hardware, peak_memory_mb, versions
from endodav.errors import AlignmentWarning
from endodav.inference.engine import DepthEngine
from endodav.inference.settings import InferenceSettings
from endodav.inference.windows import PLANS
from endodav.models.depth import build
from endodav.models.presets import PRESETS
from endodav.types import DepthMeta
from endodav.video.sink import open_sink
from endodav.video.source import open_source

PRESET = PRESETS["endodav-tiny"]


def moving_texture(count: int, height: int, width: int) -> Iterator[np.ndarray]:
    """`count` frames of a picture that wanders."""
    texture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    for index in range(count):
        yield np.roll(texture, (index, 2 * index), axis=(0, 1))


def run(frames: int, args: argparse.Namespace) -> dict[str, float]:
    """Estimate and write one video; what it took."""
    torch.manual_seed(0)
    settings = InferenceSettings("fp32", args.input_size)
    engine = DepthEngine(build(PRESET), PRESET, PLANS["vda"], settings)
    meta = DepthMeta(
        PRESET.kind, PRESET.units, PRESET.name, "random", "none", "benchmark", "array",
        version("endodav"), asdict(settings),
    )  # fmt: skip
    begin = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(dir=args.scratch) as folder,
        open_source(moving_texture(frames, args.height, args.width)) as source,
    ):
        with open_sink(Path(folder), args.format, meta=meta, info=source.info) as sink:
            for frame in engine.run(source):
                sink.write(frame)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return {
        "frames": frames,
        "peak_mb": round(peak_memory_mb(), 1),
        "seconds": round(time.perf_counter() - begin, 1),
        "written_mb": round(size / MEGABYTE, 1),
    }


def in_own_process(frames: int) -> dict[str, float]:
    """`run` in a fresh interpreter with the same options."""
    command = [sys.executable, __file__, *sys.argv[1:], "--only", str(frames)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[300, 3000])
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--input-size", type=int, default=70)
    parser.add_argument("--format", nargs="+", default=["npz"])
    parser.add_argument("--scratch", type=Path, help="where the temporary folder is made")
    parser.add_argument("--limit-mb", type=float, default=60.0)
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AlignmentWarning)  # random depth contradicts itself
            print(json.dumps(run(args.only, args)))
        return 0
    runs = [in_own_process(frames) for frames in args.frames]
    growth = max(r["peak_mb"] for r in runs) - min(r["peak_mb"] for r in runs)
    report = {
        "runs": runs,
        "growth_mb": round(growth, 1),
        "limit_mb": args.limit_mb,
        "within_limit": growth <= args.limit_mb,
        "frame": [args.height, args.width],
        "network_input": args.input_size,
        "formats": args.format,
        "window": [PLANS["vda"].length, PLANS["vda"].overlap],
        "versions": versions(),
        "hardware": hardware(),
    }
    print(json.dumps(report, indent=2))
    return 0 if report["within_limit"] else 1


if __name__ == "__main__":
    sys.exit(main())
