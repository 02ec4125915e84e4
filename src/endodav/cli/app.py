"""`endodav`: registers the commands and turns errors into one sentence and an exit code."""

import os
import signal
import sys
from types import FrameType

import typer

from endodav.cli import (
    adapt,
    bench,
    compare,
    demo,
    depth,
    evaluate,
    export,
    info,
    masks,
    merge,
    models,
    prepare,
    render,
    reproduce,
    train,
)
from endodav.errors import EndoDAVError

EXIT_CODES = """
Exit codes: 0 done; 1 a bug; 2 wrong usage; 3 the input cannot be used; 4 the model or its weights
cannot be used; 5 the output cannot be written; 6 a recipe or option is impossible; 7 done, but part
of the input could not be read; 8 slower than a stored benchmark; 130 interrupted; 143 terminated.
"""

# How schedulers and closing terminals end a program; Windows lacks some of them.
ENDINGS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]

app = typer.Typer(
    name="endodav",
    help="Depth for any endoscopic video: spatially accurate, stable in time, constant memory.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    depth.depth,
    models.models,
    info.info,
    demo.demo,
    bench.bench,
    train.train,
    prepare.prepare,
    render.render,
    export.export,
):
    app.command()(command)
app.command("adapt")(adapt.adapt)
app.command("masks")(masks.masks)
app.command("merge")(merge.merge)
app.command("eval")(evaluate.evaluate)
app.command("compare")(compare.compare_reports)
app.add_typer(reproduce.app, name="reproduce")


def main() -> None:
    """Entry point of the `endodav` command."""
    for number in ENDINGS:
        signal.signal(number, _leave)
    try:
        app()
    except EndoDAVError as error:
        _fail(str(error), error.exit_code)
    except Exception as error:
        if os.environ.get("ENDODAV_DEBUG"):
            raise
        what = f"{type(error).__name__}: {error}"
        _fail(f"this is a bug ({what}); set ENDODAV_DEBUG=1 to see where it happened.", 1)


def _leave(number: int, _frame: FrameType | None) -> None:
    """Leave by an exception, as Ctrl-C does, so that unfinished results are removed."""
    sys.exit(128 + number)


def _fail(message: str, exit_code: int) -> None:
    print(f"endodav: {message}", file=sys.stderr)
    sys.exit(exit_code)
