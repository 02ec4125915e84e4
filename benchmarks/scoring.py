"""How fast are stored predictions scored, and in how much memory? Exits 1 if not good enough.

python benchmarks/scoring.py [--frames 500] [--rounds 3] [--height 1024] [--width 1280]
    [--scratch DIR]

Writes benchmarks/results/scoring.json. A dataset of 16-bit PNG truth and an NPZ of predictions is
made first and not timed. Then each protocol is scored by itself in a process of its own: reading
and decoding both files, alignment over the whole video and the five standard metrics; once to warm
up, and in rounds whose median counts. Needs about 20 bytes of disk a pixel: the data, and the
scratch file that is removed after each run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from endodav.bench.machine import hardware, peak_memory_mb, versions
from endodav.data.files import depth_codes
from endodav.data.sequence import FrameRef, Sequence
from endodav.evaluation.metrics import STANDARD
from endodav.evaluation.predictions import open_prediction
from endodav.evaluation.protocols import PROTOCOLS
from endodav.evaluation.runner import evaluate_video
from endodav.types import Kind

RESULT = Path(__file__).parent / "results" / "scoring.json"
UNIT_MM = 0.01
LIMIT_MB, LIMIT_RATE = 2000, 25.0
TEXTURES = 8  # different frames; files are all written, so that reading is real


def make(folder: Path, frames: int, height: int, width: int) -> None:
    """Smooth depth with noise of one code, and inverse depth that is off by a factor."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    pairs = []
    for k in range(TEXTURES):
        truth = 60 + 30 * np.sin(columns / 200 + k) + 25 * np.cos(rows / 150)
        codes = np.rint(truth / UNIT_MM + rng.integers(0, 2, truth.shape)).astype(np.uint16)
        codes[:, : width // 20] = 0
        pairs.append((codes, (1 / (truth * rng.uniform(0.8, 1.2, truth.shape))).astype("<f4")))
    (folder / "truth").mkdir()
    for k in range(frames):
        path = folder / "truth" / f"{k:06d}.png"
        Image.fromarray(pairs[k % TEXTURES][0]).save(path, compress_level=1)
    scratch = np.lib.format.open_memmap(
        folder / "p.npy", "w+", np.dtype("<f4"), (frames, height, width)
    )
    for k in range(frames):
        scratch[k] = pairs[k % TEXTURES][1]
    scratch.flush()
    del scratch
    with zipfile.ZipFile(folder / "prediction.npz", "w", zipfile.ZIP_STORED) as archive:
        archive.write(folder / "p.npy", "prediction.npy")
    (folder / "p.npy").unlink()


def sequence(folder: Path) -> Sequence:
    black: dict[tuple[int, int], np.ndarray] = {}

    def image(ref: FrameRef) -> np.ndarray:
        with Image.open(ref.image) as picture:
            size = picture.height, picture.width
        return black.setdefault(size, np.zeros((*size, 3), np.uint8))

    paths = sorted((folder / "truth").iterdir())
    refs = tuple(FrameRef(path, path, Fraction(k, 25)) for k, path in enumerate(paths))
    return Sequence("benchmark", "benchmark", refs, depth_codes(UNIT_MM), image)


def measure(folder: Path, protocol: str) -> dict[str, object]:
    prediction = open_prediction(folder / "prediction.npz", Kind.INVERSE_DEPTH)
    begin, cpu = time.perf_counter(), time.process_time()
    found = evaluate_video(
        prediction, sequence(folder), [PROTOCOLS[protocol]], STANDARD, scratch=folder
    )
    seconds, score = time.perf_counter() - begin, found.scores[0]
    return {
        "protocol": protocol,
        "frames": score.frames,
        "seconds": round(seconds, 2),
        "frames_per_second": round(score.frames / seconds, 1),
        "cpu_ms_per_frame": round(1000 * (time.process_time() - cpu) / score.frames, 1),
        "peak_rss_mb": round(peak_memory_mb()),
        "metrics": {name: round(value, 6) for name, value in score.metrics.items()},
    }


def middle(rounds: list[dict[str, object]]) -> dict[str, object]:
    """The round of the median rate, with the rates of all."""
    ordered = sorted(rounds, key=lambda run: float(str(run["frames_per_second"])))
    chosen = ordered[len(ordered) // 2]
    return {**chosen, "rates": [run["frames_per_second"] for run in rounds]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--scratch", type=Path, help="where the temporary folder is made")
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only is not None:
        print(json.dumps(measure(Path(args.only[0]), args.only[1])))
        return 0
    runs = []
    with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
        make(Path(folder), args.frames, args.height, args.width)
        for protocol in ("vda", "endodav"):
            command = [sys.executable, __file__, "--only", folder, protocol]
            rounds = []
            for _ in range(1 + args.rounds):
                done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
                rounds.append(json.loads(done.stdout))
            runs.append(middle(rounds[1:]))
    enough = all(
        run["peak_rss_mb"] < LIMIT_MB and run["frames_per_second"] >= LIMIT_RATE for run in runs
    )
    report = {
        "frame": [args.height, args.width],
        "runs": runs,
        "limits": {"peak_rss_mb": LIMIT_MB, "frames_per_second": LIMIT_RATE},
        "within_limits": enough,
        "versions": versions(),
        "hardware": hardware(),
    }
    RESULT.write_text(json.dumps(report, indent=2) + "\n")
    print(RESULT.read_text(), end="")
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
