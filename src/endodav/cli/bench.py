"""`endodav bench`: how fast a model is on this machine, and whether that got worse."""

import itertools
import multiprocessing
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from endodav.bench.machine import matrix_rates
from endodav.bench.measure import Config, Row, measure
from endodav.bench.report import (
    Report,
    make_report,
    read_report,
    regressions,
    write_report,
)
from endodav.cli.console import err, out, plain_warnings, track
from endodav.cli.depth import width_and_height
from endodav.cli.options import Compile, Device
from endodav.errors import RecipeError
from endodav.inference.settings import choose_device

REGRESSION_EXIT_CODE = 8


def bench(
    model: Annotated[str, typer.Option(help="Models or run folders, separated by commas.")] = (
        "endodav-tiny"
    ),
    weights: Annotated[
        Path | None, typer.Option(help="Checkpoint for that architecture, as for `depth`.")
    ] = None,
    backend: Annotated[str, typer.Option(help="What runs the network; commas.")] = "torch",
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16, bf16; commas.")] = "auto",
    compile: Compile = "none",  # noqa: A002
    size: Annotated[str, typer.Option(help="Frames as WIDTHxHEIGHT; commas.")] = "280x224",
    device: Device = "auto",
    video: Annotated[
        Path | None, typer.Option(help="File whose frames are seen; default: the bundled clip.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=5, help="Windows that are timed.")] = 5,
    json: Annotated[Path | None, typer.Option(help="File for the whole report.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="A stored report: exit with 8 if this run is worse.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="How much worse is no regression: 0.15 is 15 %.")
    ] = 0.15,
    quiet: Annotated[bool, typer.Option(help="No progress, no table.")] = False,
) -> None:
    """Measure speed, latency, memory and arithmetic of models on this machine."""
    stored = None if against is None else read_report(against)
    clip = resources.files("endodav.synthetic") / "demo.mp4"
    with plain_warnings(), resources.as_file(clip) as bundled:
        configs = [
            Config(*chosen, video or bundled, weights, device, repeats, compile=compile)
            for chosen in itertools.product(
                model.split(","),
                backend.split(","),
                precision.split(","),
                [width_and_height(text, "Size") for text in size.split(",")],
            )
        ]
        rates = matrix_rates(choose_device(device))
        rows = [_alone(config) for config in track(configs, "measuring", len(configs), quiet=quiet)]
    report = make_report(rows, rates, (video or bundled).name)
    if json is not None:
        write_report(report, json)
    if not quiet:
        _show(report)
    if stored is not None and (worse := regressions(report, stored, tolerance)):
        for sentence in worse:
            err.print(sentence, markup=False)
        raise typer.Exit(REGRESSION_EXIT_CODE)


def _alone(config: Config) -> Row:
    """Measured in a process of its own, whose memory holds nothing else."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, initializer=_end_silently) as pool:
        try:
            return pool.submit(_measure, config).result()
        except BrokenProcessPool as error:
            raise RecipeError(
                f"The process that measured {config.model} was killed, probably for want of "
                "memory; choose a smaller --size."
            ) from error


def _end_silently() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is told by the process that waits


def _measure(config: Config) -> Row:
    with plain_warnings():
        return measure(config)


def _show(report: Report) -> None:
    """The machine in a line, and a table."""
    machine, rates = report["hardware"], report["matrix_gflops"]
    said = ", ".join(f"{rate:.0f} GFLOP/s in {name}" for name, rate in rates.items())
    out.print(f"{machine['gpu'] or machine['cpu']}, {machine['threads']} threads; matrices: {said}")
    table = Table(
        "model", "backend", "compiled", "precision", "rows x columns", "ms a frame", "warm-up s",
        "frames/s end to end",
        "streaming p50/p95/p99 ms", "memory MB", "VRAM MB", "GFLOP/s", "of matrix rate", box=None,
    )  # fmt: skip
    for row in report["rows"]:
        table.add_row(*_cells(row))
    out.print(table)


def _cells(row: dict[str, Any]) -> Sequence[str]:
    spread, stream, share = row["ms_a_frame"], row["streaming_ms"], row["share_of_matrix_rate"]
    return (
        row["model"],
        row["backend"],
        row["compile"],
        row["precision"],
        "x".join(map(str, row["network_size"])),
        f"{spread['median']:.1f} (IQR {spread['iqr']:.1f}, n {spread['n']})",
        f"{row['warm_up_seconds']:.1f}",
        f"{row['frames_per_second']:.1f}",
        "-" if stream is None else f"{stream['p50']:.1f} {stream['p95']:.1f} {stream['p99']:.1f}",
        f"{row['peak_rss_mb']:.0f}",
        "-" if row["peak_vram_mb"] is None else f"{row['peak_vram_mb']:.0f}",
        f"{row['gflops']:.0f}",
        "-" if share is None else f"{share:.0%}",
    )
