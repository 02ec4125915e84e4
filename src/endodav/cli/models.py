"""`endodav models`: what can be run, under which licence, from where."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from endodav.cli.console import emit_json, out
from endodav.weights.catalogue import describe_models


def models(
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the models: size, what they return, licence, and whether the weights are here."""
    rows = describe_models()
    if json:
        emit_json([asdict(row) for row in rows])
        return
    table = Table("model", "parameters", "returns", "units", "licence", "weights", box=None)
    for row in rows:
        table.add_row(
            row.name,
            f"{row.parameters / 1e6:.1f} M",
            row.kind,
            row.units,
            row.licence,
            f"{row.where}{' (here)' if row.available else ''}",
        )
    out.print(table)
