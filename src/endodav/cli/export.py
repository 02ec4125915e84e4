"""`endodav export`: a model as a folder for other runtimes."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from endodav.cli.console import emit_json, err, plain_warnings
from endodav.errors import RecipeError
from endodav.export.folder import export as write_export
from endodav.weights.hub import load

DYNAMIC = "dynamic"

FormatName = Literal["onnx", "openvino"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]


def export(
    model: Annotated[
        str, typer.Argument(help="A name from `endodav models`, or a training run folder.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; it must not exist.")],
    format: Annotated[FormatName, typer.Option(help="What reads it.")],  # noqa: A002
    weights: Annotated[
        Path | None, typer.Option(help="Checkpoint (.pth or .safetensors) for that architecture.")
    ] = None,
    size: Annotated[
        str, typer.Option(help="ROWSxCOLUMNS of the input, or dynamic for any.")
    ] = DYNAMIC,
    precision: Annotated[
        Precision, typer.Option(help="Arithmetic; onnx has fp32 and int8.")
    ] = "fp32",
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(help="Video that int8 is calibrated on, besides rendered frames; repeatable."),
    ] = None,
    permissive_only: Annotated[
        bool, typer.Option(help="Refuse weights that may not be used commercially.")
    ] = False,
    quiet: Annotated[bool, typer.Option(help="No summary.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the parity report.")] = False,
) -> None:
    """Write a model for OpenVINO or ONNX Runtime, with a report of how exact it is."""
    rows_columns = _size(size)
    with plain_warnings():
        loaded = load(
            model,
            weights=weights,
            permissive_only=permissive_only,
            announce=None if quiet or json else err.print,
        )
        parity = write_export(loaded, out, format, precision, rows_columns, calibrate or ())
    if json:
        emit_json(asdict(parity))
    elif not quiet:
        err.print(
            f"{model} for {format} in {precision}: {out}\n"
            f"  deviation from PyTorch fp32: {parity.rendered.relative:.1e} of the largest value\n"
            f"  Abs Rel on rendered clips: {parity.abs_rel_export:.4f}, "
            f"PyTorch {parity.abs_rel_reference:.4f} ({parity.abs_rel_change:+.1%})"
        )


def _size(text: str) -> tuple[int, int] | None:
    if text == DYNAMIC:
        return None
    rows, cross, columns = text.lower().partition("x")
    if not (cross and rows.isdecimal() and columns.isdecimal()):
        raise RecipeError(
            f"Size {text!r} is not understood; use ROWSxCOLUMNS (224x280) or dynamic."
        )
    return int(rows), int(columns)
