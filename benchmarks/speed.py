"""How much faster than the naive reference? Writes benchmarks/results/speed.json.

python benchmarks/speed.py [--model NAME ...] [--frames 250] [--rounds 5] [--size 280x224]
    [--run torch:fp32 torch:bf16 openvino:bf16 ...] [--device cpu] [--video FILE] [--out speed.json]

Each way to run the architecture (its weights are random, from a fixed seed) estimates the same real
frames as `benchmarks/reference.py` does, in one process and in turns, so that ratios of medians
hold on a busy machine. Times are per returned frame, from pixels in memory to depth in memory.
Ways that are not installed here are named as such.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import default_video, read_frames, seeded_weights, store
from reference import naive_depth

from endodav.backends.convert import INT8
from endodav.bench.machine import MEGABYTE
from endodav.bench.timing import Spread, in_turns
from endodav.errors import EndoDAVError
from endodav.export.folder import export
from endodav.inference.estimator import DepthEstimator
from endodav.inference.preprocess import network_size

REFERENCE = "reference"
STRATEGY = "vda"  # the one that the reference is
WAYS = ("torch:fp32", "torch:bf16", "onnx:fp32", "openvino:fp32", "openvino:bf16", "openvino:int8")
GPU_WAYS = ("torch:fp32", "torch:fp16", "torch:bf16")
TARGETS = {"cpu": {"torch:fp32": 1.5, "openvino:bf16": 4.0, "openvino:int8": 5.0}, "cuda": {}}


def load(model: str, weights: Path, way: str, args: argparse.Namespace) -> DepthEstimator:
    """The architecture with seeded weights, run one way; for INT8 exported and calibrated first."""
    backend, precision = way.split(":")
    if precision == INT8:
        plain = load(model, weights, "torch:fp32", args)
        size = network_size(*args.size[::-1], plain.loaded.preset.preprocessing, min(args.size))
        folder = weights.with_name(way.replace(":", "-"))
        export(plain.loaded, folder, backend, precision, size)
        return DepthEstimator.from_pretrained(str(folder), device=args.device, strategy=STRATEGY)
    return DepthEstimator.from_pretrained(
        model, weights=weights, device=args.device, precision=precision, backend=backend,
        strategy=STRATEGY, input_size=min(args.size),
    )  # fmt: skip


def compare(model: str, images: np.ndarray, args: argparse.Namespace) -> dict[str, Any]:
    """Every way against the reference, for one architecture."""
    with tempfile.TemporaryDirectory() as folder:
        weights = seeded_weights(model, Path(folder) / "seeded.safetensors")
        plain = load(model, weights, "torch:fp32", args)
        found: dict[str, np.ndarray] = {}
        vram: dict[str, float] = {}
        missing: dict[str, str] = {}
        naive = partial(naive_depth, plain.loaded.model, plain.loaded.preset, images)
        parts = {REFERENCE: watched(REFERENCE, partial(naive, min(args.size)), found, vram)}
        for way in args.run:
            try:
                estimator = load(model, weights, way, args)
                estimator.predict(images[:2])
            except EndoDAVError as error:
                missing[way] = str(error)
                continue
            parts[way] = watched(way, partial(estimator.predict, images), found, vram)
        seconds = in_turns(parts, args.rounds)
    spreads = {
        name: Spread.of([1000 * one / len(images) for one in taken])
        for name, taken in seconds.items()
    }
    base = spreads[REFERENCE].median
    targets = TARGETS[torch.device(args.device).type]
    return {
        "ways": {
            name: {
                "ms_a_frame": asdict(spread),
                "times_faster": round(base / spread.median, 2),
                "target": targets.get(name),
                "relative_error": relative_error(found[name], found[REFERENCE]),
                "finite": bool(np.isfinite(found[name]).all()),
                "peak_vram_mb": vram.get(name),
            }
            for name, spread in spreads.items()
        },
        "not_measured": missing,
    }


def watched(
    name: str,
    work: Callable[[], np.ndarray],
    found: dict[str, np.ndarray],
    vram: dict[str, float],
) -> Callable[[], None]:
    """The work, with its result and the memory it took on the GPU kept under its name."""

    def run() -> None:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        found[name] = work()
        if torch.cuda.is_available():
            vram[name] = round(torch.cuda.max_memory_allocated() / MEGABYTE, 1)

    return run


def relative_error(depth: np.ndarray, expected: np.ndarray) -> float:
    """Norm of the difference over norm of what is expected."""
    return float(f"{np.linalg.norm(depth - expected) / np.linalg.norm(expected):.3g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["video-depth-anything-small"])
    parser.add_argument("--run", nargs="+", help="BACKEND:PRECISION ...")
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", default="280x224", help="WIDTHxHEIGHT")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--video", type=Path, default=default_video())
    parser.add_argument("--out", default="speed.json", help="name in benchmarks/results")
    args = parser.parse_args()
    width, height = (int(side) for side in args.size.split("x"))
    args.size = (width, height)
    args.run = args.run or (WAYS if args.device == "cpu" else GPU_WAYS)
    images = read_frames(args.video, args.frames, args.size)
    report = {
        "frames": len(images),
        "size": [height, width],
        "video": args.video.name,
        "rounds": args.rounds,
        "device": args.device,
        "models": {name: compare(name, images, args) for name in args.model},
    }
    store(args.out, report)


if __name__ == "__main__":
    main()
