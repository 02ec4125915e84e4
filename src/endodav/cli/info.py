"""`endodav info`: what a file of ours says about itself."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from endodav.cli.console import emit_json, out
from endodav.video.inspect import describe


def info(
    file: Annotated[Path, typer.Argument(help="Any output of endodav: file or folder.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Print what an output says about itself: kind, units, range, timestamps, model, licence."""
    description = describe(file)
    if json:
        emit_json(description)
        return
    table = Table(show_header=False, box=None)
    for key, value in description.items():
        table.add_row(key.replace("_", " "), _brief(value))
    out.print(table)


def _brief(value: object, most: int = 6) -> str:
    if isinstance(value, list) and len(value) > most:
        return f"{', '.join(map(str, value[:3]))}, ... {value[-1]} ({len(value)} values)"
    return str(value)
