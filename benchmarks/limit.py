"""Does --memory-limit hold, and is the depth the same? Exits 1 if not; writes results/limit.json.

python benchmarks/limit.py [--model video-depth-anything-small] [--size 518x518] [--frames 40]
    [--limit-mb 3072] [--video FILE]

The architecture, with seeded weights and in float32 on the CPU, estimates the same real frames
without a limit and with it, each in a process of its own: peak resident memory, time, and the
largest difference of depth as a share of the largest depth.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import default_video, load_seeded, read_frames, store

from endodav.bench.machine import MEGABYTE, peak_memory_mb

SAME = 1e-4  # sums of floats in another order


def run(limit_mb: int, out: Path, args: argparse.Namespace) -> dict[str, float]:
    """Estimate under a limit (0: none), keep the depth, and say what it took."""
    width, height = (int(side) for side in args.size.split("x"))
    images = read_frames(args.video, args.frames, (width, height))
    estimator = load_seeded(
        args.model, out.parent, device="cpu", precision="fp32", input_size=min(width, height),
        memory_limit=limit_mb * MEGABYTE or None,
    )  # fmt: skip
    begin = time.perf_counter()
    np.save(out, estimator.predict(images))
    seconds = time.perf_counter() - begin
    return {
        "peak_mb": round(peak_memory_mb(), 1),
        "ms_a_frame": round(1000 * seconds / args.frames),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="video-depth-anything-small")
    parser.add_argument("--size", default="518x518", help="WIDTHxHEIGHT")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--limit-mb", type=int, default=3 * 1024)
    parser.add_argument("--video", type=Path, default=default_video())
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only is not None:
        print(json.dumps(run(int(args.only[0]), Path(args.only[1]), args)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        found, depth = {}, []
        for name, limit_mb in (("no limit", 0), ("limit", args.limit_mb)):
            out = Path(folder) / f"{limit_mb}.npy"
            command = [sys.executable, __file__, *sys.argv[1:], "--only", str(limit_mb), str(out)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            found[name] = json.loads(done.stdout)
            depth.append(np.load(out))
    difference = float(np.abs(depth[1] - depth[0]).max() / np.abs(depth[0]).max())
    enough = found["limit"]["peak_mb"] <= args.limit_mb and difference <= SAME
    store(
        "limit.json",
        {
            "model": args.model,
            "size": args.size,
            "frames": args.frames,
            "limit_mb": args.limit_mb,
            "runs": found,
            "largest_difference": difference,
            "within_limits": enough,
        },
    )
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
