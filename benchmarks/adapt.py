"""How fast does adaptation train, and where does a step's time go? Prints one JSON object.

OMP_NUM_THREADS=1 python benchmarks/adapt.py [--out benchmarks/results/adapt.json]

Steps of a recipe on a rendered video (or `--footage`), spatial and temporal ones, after one of each
to warm up. A run decodes the next batches while it computes; here both are timed one after the
other. Peak memory is of the whole process, footage and rendering included, or of the GPU.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch
from common import tell
from torch import nn

from endodav.bench.machine import hardware, versions
from endodav.inference.memory import peak_held_by
from endodav.synthetic import render_clip, write_video
from endodav.training.adaptation.batch import VideoBatch
from endodav.training.adaptation.data import draw_batch
from endodav.training.adaptation.footage import Footage
from endodav.training.adaptation.phases import phases
from endodav.training.adaptation.recipe import AdaptRecipe, read_recipe
from endodav.training.adaptation.run import Adaptation
from endodav.training.adaptation.schedule import StepPlan, plan
from endodav.training.engine import launch

RENDERED = (40, 256, 320)  # frames, rows and columns
MIB = 2**20


class Clock:
    """Seconds by name, waiting for the device before each look at the time."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device

    def now(self) -> float:
        """The time, once the device has done what it was asked for."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def time(self, name: str, work: Callable[[], object]) -> object:
        """Do some work, and add its seconds to those of the name."""
        begun = self.now()
        made = work()
        self.seconds[name] += self.now() - begun
        return made

    def watch(self, name: str, network: nn.Module) -> None:
        """Add up what the network's forward passes take."""
        begun: list[float] = []
        network.register_forward_pre_hook(lambda *_: begun.append(self.now()))

        def done(*_: object) -> None:
            self.seconds[name] += self.now() - begun.pop()

        network.register_forward_hook(done)


def one_step(run: Adaptation, batch: VideoBatch, now: StepPlan, clock: Clock) -> None:
    """The phases of a step, as `Adaptation.step` does them, with times."""
    for phase in phases(run.start.networks, run.recipe, now):
        phase.prepare()
        run.optimiser.zero_grad(set_to_none=True)
        losses = clock.time(f"{phase.name}: forward", lambda p=phase: p.losses(batch))
        clock.time(f"{phase.name}: backward", lambda made=losses: run.engine.backward(made.total))
        limit = run.recipe.schedule.max_gradient_norm
        clock.time(f"{phase.name}: optimiser", lambda m=limit: run.engine.move(run.optimiser, m))


def measure(recipe: AdaptRecipe, footage: Footage, args: argparse.Namespace) -> dict[str, object]:
    engine = launch(args.device, args.precision)
    run = Adaptation.of(recipe, engine, download=False)
    clock = Clock(engine.device)
    for name, network in run.start.networks.named_children():
        clock.watch(f"forward of {name}", network)
    kinds = {"spatial": 0}
    if recipe.schedule.temporal_steps:
        kinds["temporal"] = recipe.schedule.spatial_steps
    report: dict[str, object] = {}
    for kind, step in kinds.items():
        now = plan(recipe.schedule, step)
        batch = draw_batch(footage, recipe.data, 0, 0).to(engine.device)
        one_step(run, batch, now, clock)
        clock.seconds.clear()
        for number in range(1, args.steps + 1):
            drawn = clock.time(
                "drawing", lambda n=number: draw_batch(footage, recipe.data, 0, n).to(engine.device)
            )
            clock.time("step", lambda b=drawn, n=now: one_step(run, b, n, clock))
        each = {name: round(value / args.steps, 4) for name, value in clock.seconds.items()}
        frames = recipe.data.clips * recipe.data.targets
        report[kind] = {
            "frames_per_second": round(frames / each["step"], 3),
            "seconds_a_step": dict(sorted(each.items(), key=lambda item: -item[1])),
        }
    return report | {"peak_mib": round(peak_held_by(engine.device) / MIB)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="endodav")
    parser.add_argument("--base", default="endodav-tiny")
    parser.add_argument("--footage", type=Path)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    recipe = read_recipe(args.recipe, base=args.base)
    report: dict[str, object] = {
        "hardware": hardware(),
        "versions": versions(),
        "recipe": recipe.name,
        "base": recipe.base,
        "precision": args.precision,
        "size": recipe.data.size,
        "clips": recipe.data.clips,
        "targets": recipe.data.targets,
        "steps": args.steps,
    }
    with tempfile.TemporaryDirectory() as folder:
        where = args.footage
        if where is None:
            where = Path(folder) / "colon.mp4"
            write_video(render_clip(0, *RENDERED, family="colon").images, where, 25.0)
        report |= measure(recipe, Footage.open(where, recipe.frames), args)
    report["load_average_after"] = os.getloadavg()[0]
    tell(report, args.out)


if __name__ == "__main__":
    main()
