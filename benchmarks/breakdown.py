"""Where inside the network does the time go? Writes benchmarks/results/breakdown.json.

python benchmarks/breakdown.py [--model endodav-tiny video-depth-anything-small]
    [--size 280x224] [--precision fp32] [--rounds 5] [--out breakdown.json]

Timers around the parts of the network while the engine runs whole windows, on the CPU, where a call
ends when its work is done; in milliseconds a returned frame. The weights are random, from a fixed
seed. `docs/images/breakdown.py` draws what this finds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from common import default_video, load_seeded, read_frames, store
from torch import nn

from endodav.bench.measure import plan_of, to_and_fro
from endodav.bench.timing import Spread
from endodav.inference.estimator import DepthEstimator

ENCODER_REST, REST = "norms and residuals", "alignment and the rest"
KEPT = 64  # frames gone through to and fro


def parts_of(network: nn.Module) -> Mapping[str, Iterable[nn.Module]]:
    """The parts of a video network, in the order in which a frame passes them."""
    encoder, head = network.encoder, network.head
    sides = [fusion.lateral for fusion in head.fuse if fusion.lateral is not None]
    return {
        "patches": [encoder.patch_embed],
        "attention in a frame": [block.attention for block in encoder.blocks],
        "MLP": [block.mlp for block in encoder.blocks],
        "maps of four levels": [*head.project, *head.resize, *head.lateral, *sides],
        "attention over time": list(network.motion),
        "fusion": list(head.fuse),
        "output": [head.output],
    }


@contextmanager
def timed(modules: Iterable[nn.Module], spent: dict[str, float], name: str) -> Iterator[None]:
    """Add up, under its name, the seconds that the modules take."""
    begun: list[float] = []
    with ExitStack() as stack:
        for module in modules:
            before = module.register_forward_pre_hook(lambda *_: begun.append(time.perf_counter()))
            after = module.register_forward_hook(lambda *_: add(time.perf_counter() - begun.pop()))
            stack.callback(before.remove)
            stack.callback(after.remove)

        def add(seconds: float) -> None:
            spent[name] += seconds

        yield


def breakdown(estimator: DepthEstimator, size: tuple[int, int], rounds: int) -> dict[str, Any]:
    """Milliseconds a returned frame of every part: the median window of `rounds`."""
    run = iter(estimator.run(to_and_fro(read_frames(default_video(), KEPT, size))))
    network, plan = estimator.loaded.model, plan_of(estimator)
    parts = parts_of(network)
    found = defaultdict[str, list[float]](list)
    for _ in islice(run, plan.length):  # the first window warms up
        pass
    for _ in range(rounds):
        spent = dict.fromkeys([*parts, "encoder"], 0.0)
        with ExitStack() as stack:
            for name, modules in [*parts.items(), ("encoder", [network.encoder])]:
                stack.enter_context(timed(modules, spent, name))
            begin = time.perf_counter()
            for _ in islice(run, plan.step):
                pass
            total = time.perf_counter() - begin
        inside = list(parts)[:3]
        spent[ENCODER_REST] = spent.pop("encoder") - sum(spent[name] for name in inside)
        spent[REST] = total - sum(spent.values())
        for name, seconds in spent.items():
            found[name].append(1000 * seconds / plan.step)
    order = [*inside, ENCODER_REST, *list(parts)[3:], REST]
    return {name: asdict(Spread.of(found[name])) for name in order}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", nargs="+", default=["endodav-tiny", "video-depth-anything-small"]
    )
    parser.add_argument("--size", default="280x224", help="WIDTHxHEIGHT of what the network sees")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", default="breakdown.json", help="name in benchmarks/results")
    args = parser.parse_args()
    width, height = (int(side) for side in args.size.split("x"))
    models = {}
    for name in args.model:
        with tempfile.TemporaryDirectory() as folder:
            estimator = load_seeded(
                name, Path(folder), device="cpu", precision=args.precision,
                input_size=min(width, height), output_size="model",
            )  # fmt: skip
        models[name] = breakdown(estimator, (width, height), args.rounds)
    report = {"size": [height, width], "precision": args.precision, "ms_a_frame": models}
    store(args.out, report)


if __name__ == "__main__":
    main()
