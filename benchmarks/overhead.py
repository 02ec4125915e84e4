"""What do decoding, preprocessing and writing cost beside the network, and is it hidden?

python benchmarks/overhead.py [--model video-depth-anything-small] [--size 280x224]
    [--output-size model|source] [--frames 200] [--rounds 3] [--video FILE] [--out overhead.json]

Each stage by itself, then all of them together, in turns over the same frames of a 720p H.264 file,
with seeded weights: once with PyTorch on all cores, behind which nothing can hide, and once with
PyTorch on one, which leaves the others to decoding and writing. The overhead is all stages but the
network as a share of it; hidden is what the whole takes less than the sum, as a share of the
overhead. Waiting is the time that the network's thread spends outside the network's calls beyond
what it spends there with frames in memory and nothing written: for the next frame, to prepare it,
to hand over depth. Exits 1 if the overhead is above the limit. Writes
benchmarks/results/overhead.json.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import wraps
from itertools import cycle, islice
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch
from common import again, default_video, hd_file, load_seeded, read_frames, store

from endodav.bench.measure import with_settings
from endodav.bench.timing import Spread, in_turns
from endodav.inference.alignment import Estimate
from endodav.inference.estimator import DepthEstimator
from endodav.inference.predictor import Predictor
from endodav.types import DepthFrame, SourceInfo
from endodav.video.sink import open_sink
from endodav.video.source import open_source

FORMATS = ("video", "npz")
LIMIT = 0.15
NETWORK, TOGETHER, ONE_THREAD = "network", "together", ", PyTorch on one thread"
BOTH = (NETWORK, TOGETHER)
KEPT = 32  # different frames that are held in memory for the stages behind decoding

Stages = dict[str, Callable[[], object]]
P = ParamSpec("P")
R = TypeVar("R")


class Outside:
    """How long a thread works outside the calls of some functions."""

    def __init__(self) -> None:
        self._inside = 0.0
        self.seconds: dict[str, list[float]] = {}

    def without(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function, whose time is not counted."""

        @wraps(function)
        def timed(*args: P.args, **kwargs: P.kwargs) -> R:
            begin = time.perf_counter()
            result = function(*args, **kwargs)
            self._inside += time.perf_counter() - begin
            return result

        return timed

    def of(self, name: str, work: Callable[[], object]) -> Callable[[], object]:
        """The work, whose time outside is appended to `seconds[name]`."""

        def counted() -> None:
            before, begin = self._inside, time.perf_counter()
            work()
            inside = self._inside - before
            self.seconds.setdefault(name, []).append(time.perf_counter() - begin - inside)

        return counted


def stages_of(estimator: DepthEstimator, path: Path, size: tuple[int, int], count: int) -> Stages:
    """Work on `count` frames: each stage by itself, and all together."""
    small = read_frames(path, count, size)
    images = [frame.image for frame in again(path, size, min(KEPT, count))]
    with open_source(path) as source:
        info = source.info
    at_network_size = with_settings(estimator, output_size="model")
    maps = at_network_size.predict(small[: len(images)])
    done = list(estimator.run(iter(images)))
    predictor = Predictor(estimator.loaded.model, estimator.loaded.preset, estimator.settings)

    def preprocess() -> None:
        for image in islice(cycle(images), count):
            predictor.prepare(image)

    def upsample() -> None:
        for values in islice(cycle(maps), count):
            Estimate(torch.from_numpy(values)).at(done[0].values.shape).numpy()

    def network() -> None:
        for _ in at_network_size.run(small):
            pass

    def together() -> None:
        write(estimator, info, estimator.run(again(path, size, count)))

    return {
        "decode": lambda: [None for _ in again(path, size, count)],
        "preprocess": preprocess,
        NETWORK: network,
        "upsample": upsample,
        "write": lambda: write(estimator, info, islice(cycle(done), count)),
        TOGETHER: together,
        NETWORK + ONE_THREAD: lambda: on_one_thread(network),
        TOGETHER + ONE_THREAD: lambda: on_one_thread(together),
    }


def on_one_thread(work: Callable[[], object]) -> None:
    """Work while PyTorch computes on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        work()
    finally:
        torch.set_num_threads(threads)


def write(estimator: DepthEstimator, info: SourceInfo, frames: Iterable[DepthFrame]) -> None:
    """Write frames into a folder that is removed."""
    with (
        tempfile.TemporaryDirectory() as folder,
        open_sink(Path(folder), FORMATS, meta=estimator.meta, info=info) as sink,
    ):
        for frame in frames:
            sink.write(frame)


def shares(medians: dict[str, float], outside: dict[str, float]) -> dict[str, float]:
    """Overhead as a share of the network's time, how much of it is hidden, how much waited for."""
    overhead = sum(time for name, time in medians.items() if not name.startswith(BOTH))

    def hidden(way: str) -> float:
        alone = medians[NETWORK + way] + overhead
        return round((alone - medians[TOGETHER + way]) / overhead, 3)

    def waiting(way: str) -> float:
        return round((outside[TOGETHER + way] - outside[NETWORK + way]) / overhead, 3)

    return {
        "overhead": round(overhead / medians[NETWORK], 3),
        "hidden": hidden(""),
        "hidden_on_one_thread": hidden(ONE_THREAD),
        "waiting": waiting(""),
        "waiting_on_one_thread": waiting(ONE_THREAD),
        "visible_overhead": round(medians[TOGETHER] / medians[NETWORK] - 1, 3),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="video-depth-anything-small")
    parser.add_argument("--size", default="280x224", help="WIDTHxHEIGHT of what the network sees")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--output-size", choices=("model", "source"), default="model")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--video", type=Path, default=default_video())
    parser.add_argument("--out", default="overhead.json", help="name in benchmarks/results")
    args = parser.parse_args()
    width, height = (int(side) for side in args.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        estimator = load_seeded(
            args.model, Path(folder), precision=args.precision, input_size=min(width, height),
            output_size=args.output_size,
        )  # fmt: skip
        path = hd_file(args.video, Path(folder))
        outside, network = Outside(), estimator.loaded.model
        for method in ("encode", "decode"):
            setattr(network, method, outside.without(getattr(network, method)))
        stages = stages_of(estimator, path, (width, height), args.frames)
        works = {name: outside.of(name, work) for name, work in stages.items()}
        seconds = in_turns(works, args.rounds)

    def a_frame(taken: dict[str, list[float]]) -> dict[str, Spread]:
        counted = {name: some[-args.rounds :] for name, some in taken.items()}
        return {
            name: Spread.of([1000 * one / args.frames for one in some])
            for name, some in counted.items()
        }

    spreads = a_frame(seconds)
    beside = {name: s for name, s in a_frame(outside.seconds).items() if name.startswith(BOTH)}
    found = shares(
        {name: spread.median for name, spread in spreads.items()},
        {name: spread.median for name, spread in beside.items()},
    )
    store(
        args.out,
        {
            "model": args.model,
            "precision": args.precision,
            "size": [height, width],
            "video": f"{args.video.name}, the central part of 1280x720",
            "output_size": args.output_size,
            "written": list(FORMATS),
            "frames": args.frames,
            "ms_a_frame": {name: asdict(spread) for name, spread in spreads.items()},
            "ms_outside_the_network": {name: asdict(spread) for name, spread in beside.items()},
            "shares": found,
            "limits": {"overhead": LIMIT},
            "within_limits": found["overhead"] <= LIMIT,
        },
    )
    return 0 if found["overhead"] <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
