"""`endodav train`: from a recipe to weights."""

from pathlib import Path
from typing import Annotated

import typer

from endodav.cli.console import err, plain_warnings
from endodav.cli.options import Device
from endodav.training.engine import launch
from endodav.training.recipe import bundled_recipes, read_recipe
from endodav.training.trainer import silent
from endodav.training.trainer import train as run_training
from endodav.training.watch import Record


def train(
    recipe: Annotated[
        str, typer.Argument(help=f"A YAML file, or one of {', '.join(bundled_recipes())}.")
    ],
    out: Annotated[Path, typer.Option(help="Run folder: recipe, log, checkpoints, weights.")],
    resume: Annotated[bool, typer.Option(help="Continue an interrupted run.")] = False,
    minutes: Annotated[
        float | None, typer.Option(help="Stop in good order after this much time.")
    ] = None,
    device: Device = "auto",
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
) -> None:
    """Train a model by a recipe; `endodav depth --model RUN` uses the result.

    On several GPUs: torchrun --nproc-per-node 4 --no-python endodav train RECIPE --out RUN
    """
    with plain_warnings():
        plan = read_recipe(recipe)  # what is wrong in it is said before an engine takes its seconds
        speaks = launch(device, "fp32").writes and not quiet
        weights = run_training(
            plan,
            out,
            resume=resume,
            minutes=minutes,
            device=device,
            progress=_say if speaks else silent,
        )
    if speaks:
        err.print(f"Weights: {weights}")


def _say(record: Record) -> None:
    err.print(", ".join(f"{name} {_brief(value)}" for name, value in record.items()))


def _brief(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
