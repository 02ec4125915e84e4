"""`endodav adapt`: from unlabelled footage to an adapter."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from endodav.cli.console import err, plain_warnings
from endodav.inference.settings import choose_device
from endodav.training.adaptation.footage import Footage
from endodav.training.adaptation.recipe import bundled_recipes, read_recipe
from endodav.training.adaptation.schedule import trainable_table
from endodav.training.adaptation.start import start
from endodav.training.adaptation.trainer import adapt as run_adaptation
from endodav.training.trainer import silent
from endodav.training.watch import Record
from endodav.video.roi import parse_field_of_view


def adapt(
    footage: Annotated[Path, typer.Argument(help="A folder of videos or images, or one video.")],
    out: Annotated[Path, typer.Option(help="Run folder: recipe, log, checkpoint, adapter.")],
    recipe: Annotated[
        str, typer.Option(help=f"A YAML file, or one of {', '.join(bundled_recipes())}.")
    ] = "endodav",
    base: Annotated[str | None, typer.Option(help="Model to adapt; default: the recipe's.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Default: the recipe's.")] = None,
    roi: Annotated[
        str, typer.Option(help="Field of view: auto, none, circle:x,y,r or rect:x,y,w,h.")
    ] = "auto",
    masks: Annotated[
        Path | None, typer.Option(help="Region labels: MASKS/VIDEO-NAME, by `endodav masks`.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Continue an interrupted run.")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Check footage and recipe, print the plan.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
) -> None:
    """Adapt depth to an endoscope by its own video; `endodav depth --model RUN` uses the result."""
    with plain_warnings():
        plan = read_recipe(recipe, base=base, steps=steps)
        field = None if roi == "auto" else parse_field_of_view(roi)
        found = Footage.open(footage, plan.data.targets + 2, field, masks)
        if not quiet:
            for video in found.videos:
                err.print(
                    f"{video.path}: {len(video.times)} frames, {len(video.cuts)} cuts,"
                    f" field of view {video.field}",
                    markup=False,
                )
        if dry_run:
            begun = start(plan, download=False)
            table = Table("part", "trains", "tensors", "scalars")
            for row in trainable_table(begun.networks, plan.depth, plan.schedule):
                table.add_row(row.part, row.trains, str(row.tensors), f"{row.scalars:,}")
            err.print(table)
            return
        weights = run_adaptation(
            plan,
            found,
            out,
            device=choose_device(device),
            resume=resume,
            report=silent if quiet else _say,
        )
    if not quiet:
        err.print(f"Adapter: {weights}", markup=False)


def _say(record: Record) -> None:
    shown = (f"{name} {value:.4g}" for name, value in record.items() if "norm" not in name)
    err.print(", ".join(shown), markup=False)
