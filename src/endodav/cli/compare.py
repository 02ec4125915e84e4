"""`endodav compare`: reports side by side, with paired intervals."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from endodav.cli.console import emit_json, out
from endodav.errors import RecipeError
from endodav.evaluation import report as reports
from endodav.evaluation.comparison import Difference, compare
from endodav.evaluation.report import TITLES, read_report


def compare_reports(
    paths: Annotated[
        list[Path], typer.Argument(metavar="A B [C ...]", help="Reports, or their folders.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print the differences as JSON.")] = False,
) -> None:
    """Compare reports on the same sequences with the first; say what is no difference."""
    if len(paths) < 2:
        raise RecipeError("A comparison needs two reports or more; give their folders.")
    reference, *others = [read_report(path) for path in paths]
    found = {
        str(path): list(compare(reference, other))
        for path, other in zip(paths[1:], others, strict=True)
    }
    if json:
        emit_json(
            {
                name: [
                    vars(one) | {"gap": one.gap._asdict(), "verdict": one.verdict} for one in gaps
                ]
                for name, gaps in found.items()
            }
        )
        return
    for (name, gaps), other in zip(found.items(), others, strict=True):
        out.print(f"A: {paths[0]}   B: {name}", markup=False)
        for label, report in (("A", reference), ("B", other)):
            for fact in reports.facts(report):
                out.print(f"{label}: {fact}", markup=False)
        table = Table("protocol", "metric", "sequences", "A", "B", "B - A, 95 % paired", "B is")
        for one in gaps:
            table.add_row(*_row(one))
        out.print(table)


def _row(one: Difference) -> tuple[str, ...]:
    title = TITLES[one.metric]
    gap = f"{one.gap.mean:+.{title.digits}f}"
    if one.sequences > 1:
        gap += f" [{one.gap.low:+.{title.digits}f}, {one.gap.high:+.{title.digits}f}]"
    return (
        one.protocol,
        title.text,
        str(one.sequences),
        f"{one.reference:.{title.digits}f}",
        f"{one.other:.{title.digits}f}",
        gap,
        one.verdict,
    )
