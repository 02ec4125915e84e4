"""`endodav train`: from a recipe to weights."""

from pathlib import Path
from typing import Annotated

import typer

from endodav.cli.console import err, plain_warnings
from endodav.training.recipe import load_recipe
from endodav.training.trainer import train as run_training


def train(
    recipe: Annotated[str, typer.Argument(help="A bundled recipe (vda-tiny) or a YAML file.")],
    out: Annotated[Path, typer.Option(help="Run folder: recipe, log, checkpoints, weights.")],
    resume: Annotated[bool, typer.Option(help="Continue an interrupted run.")] = False,
    minutes: Annotated[
        float | None, typer.Option(help="Stop in good order after this much time.")
    ] = None,
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
) -> None:
    """Train a model by a recipe; `endodav depth --model RUN` uses the result."""
    with plain_warnings():
        weights = run_training(
            load_recipe(recipe),
            out,
            resume=resume,
            minutes=minutes,
            progress=None if quiet else err.print,
        )
    if not quiet:
        err.print(f"Weights: {weights}")
