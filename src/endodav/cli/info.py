"""`endodav info`: what a file of ours says about itself."""

from pathlib import Path
from typing import Annotated

import typer

from endodav.cli.console import emit_json, out
from endodav.video.inspect import describe, read_meta


def info(
    file: Annotated[Path, typer.Argument(help="Any output of endodav: file or folder.")],
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Print what an output says about itself: kind, units, range, timestamps, model, licence."""
    if json:
        emit_json(read_meta(file))
    else:
        out.print(describe(file), markup=False)
