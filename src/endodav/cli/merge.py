"""`endodav merge`: a run of adapters as one whole checkpoint."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from endodav.cli.console import err, plain_warnings
from endodav.weights.adapters import merged, write_official
from endodav.weights.hub import load
from endodav.weights.runs import save_model


class Form(StrEnum):
    """Whose names the checkpoint has."""

    ENDODAV = "endodav"
    OFFICIAL = "official"


def merge(
    run: Annotated[str, typer.Argument(help="Run folder of `endodav adapt`, or a model.")],
    out: Annotated[
        Path, typer.Option(help="File to write: .safetensors; the official form also as .pth.")
    ],
    form: Annotated[
        Form,
        typer.Option(
            "--format",
            help="endodav: adapters merged into the weights, for `endodav depth --model FILE`; "
            "official: names of the official program, adapters as its own parameters.",
        ),
    ] = Form.ENDODAV,
    weights: Annotated[
        Path | None, typer.Option(help="Checkpoint of the base, where it is your own.")
    ] = None,
    quiet: Annotated[bool, typer.Option(help="Say nothing.")] = False,
) -> None:
    """Write base and adapters as one whole checkpoint."""
    with plain_warnings():
        loaded = load(run, weights=weights)
        if form is Form.OFFICIAL:
            write_official(out, loaded)
        else:
            plain = merged(loaded)
            save_model(out, plain.model, plain.preset)
    if not quiet:
        err.print(f"Checkpoint: {out}", markup=False)
