"""Does a stream keep up, evenly and without growing? Exits 1 if not; writes results/streaming.json.

python benchmarks/streaming.py [--model endodav-tiny] [--size 280x224] [--precision auto]
    [--backend torch] [--frames 500] [--long 10000] [--small 70x56] [--video FILE]

First, end to end: a 720p H.264 file is decoded, its central 900x720 pixels are estimated frame by
frame without looking at later ones and written as preview and NPZ of the network's size; five
rounds. The latency of a frame is what passes from its pixels to its depth in those rounds, while
decoding and writing go on beside it; with a backend, so does the encoding of the frame behind it.
The latency of a live frame is the same where each frame comes when the one before is done. Last,
memory: one long file of small frames through one stream, with resident memory on the way.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np
from common import HD, MADE_FRAMES, again, default_video, hd_file, read_frames, store

from endodav.bench.machine import memory_now_mb
from endodav.bench.measure import latency, to_and_fro
from endodav.bench.timing import Latency, Spread
from endodav.inference.estimator import DepthEstimator
from endodav.synthetic.writer import write_video
from endodav.types import Frame
from endodav.video.sink import open_sink
from endodav.video.source import open_source

FORMATS = ("video", "npz")
LEAST_RATE = 25.0  # frames a second
MOST_TAIL = 2.0  # p99 over the median
MOST_GROWTH_MB = 20.0  # over the long stream, after its first tenth
LIVE_FRAMES = 200
WARM_UP = 10  # frames of a round whose latency does not count


def end_to_end(
    estimator: DepthEstimator, path: Path, frames: int, size: tuple[int, int]
) -> tuple[float, list[float]]:
    """Frames a second from file to files, and the seconds that each frame took to be estimated."""
    begin, latencies, asked = time.perf_counter(), [], {}

    def given() -> Iterator[Frame]:
        for frame in again(path, size, frames):
            asked[frame.index] = time.perf_counter()
            yield frame

    with open_source(path) as source:
        info = source.info
    with (
        tempfile.TemporaryDirectory() as folder,
        open_sink(Path(folder), FORMATS, meta=estimator.meta, info=info) as sink,
    ):
        for depth in estimator.stream().run(given()):
            latencies.append(time.perf_counter() - asked.pop(depth.index))
            sink.write(depth)
    return frames / (time.perf_counter() - begin), latencies[WARM_UP:]


def growth(estimator: DepthEstimator, frames: int, size: tuple[int, int]) -> dict[str, float]:
    """Resident memory after a tenth of a long stream, and how much it grew in the rest."""
    images = read_frames(default_video(), MADE_FRAMES, size)
    stream, tenth, seen = estimator.stream(), max(frames // 10, 1), []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.mp4"
        write_video(islice(to_and_fro(images), frames), path, 25.0)
        with open_source(path) as source:
            for frame in source:
                stream.step(frame)
                if (frame.index + 1) % tenth == 0:
                    seen.append(memory_now_mb())
    return {
        "frames": frames,
        "after_a_tenth_mb": round(seen[0], 1),
        "growth_mb": round(max(seen) - seen[0], 1),
        "slope_mb_a_thousand_frames": round(
            float(np.polyfit(np.arange(len(seen)), seen, 1)[0]) * 1000 / tenth, 3
        ),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="endodav-tiny")
    parser.add_argument("--size", default="280x224", help="WIDTHxHEIGHT of what the network sees")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--long", type=int, default=10_000)
    parser.add_argument("--small", default="70x56", help="WIDTHxHEIGHT of the long stream")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--video", type=Path, default=default_video())
    parser.add_argument("--out", default="streaming.json", help="name in benchmarks/results")
    args = parser.parse_args()
    size, small = (
        (int(width), int(height))
        for width, height in (text.split("x") for text in (args.size, args.small))
    )

    def load(size: tuple[int, int]) -> DepthEstimator:
        return DepthEstimator.from_pretrained(
            args.model, precision=args.precision, input_size=min(size), output_size=size,
            streaming=True, backend=args.backend,
        )  # fmt: skip

    with tempfile.TemporaryDirectory() as folder:
        path = hd_file(args.video, Path(folder))
        estimator = load(size)
        end_to_end(estimator, path, 2 * WARM_UP, size)
        rounds = [end_to_end(estimator, path, args.frames, size) for _ in range(args.rounds)]
        live = latency(estimator, read_frames(args.video, LIVE_FRAMES, size), LIVE_FRAMES)
    rate = Spread.of([rate for rate, _ in rounds])
    filed = Latency.of([seconds for _, taken in rounds for seconds in taken])
    long = growth(load(small), args.long, small)
    how = estimator.meta.settings
    enough = {
        "frames_per_second": rate.median >= LEAST_RATE,
        "p99_over_median": filed.p99 <= MOST_TAIL * filed.p50,
        "growth": long["growth_mb"] <= MOST_GROWTH_MB,
    }
    store(
        args.out,
        {
            "model": estimator.meta.model,
            "backend": how.get("backend", args.backend),
            "precision": how["precision"],
            "size": list(size[::-1]),
            "video": f"{args.video.name}, {HD[0]}x{HD[1]} H.264",
            "written": list(FORMATS),
            "frames_a_round": args.frames,
            "frames_per_second": asdict(rate),
            "latency_ms": asdict(filed) | {"p99_over_median": filed.p99 / filed.p50},
            "live_latency_ms": asdict(live) | {"p99_over_median": live.p99 / live.p50},
            "long_stream": long,
            "limits": {
                "frames_per_second": LEAST_RATE,
                "p99_over_median": MOST_TAIL,
                "growth_mb": MOST_GROWTH_MB,
            },
            "within_limits": enough,
        },
    )
    return 0 if all(enough.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
