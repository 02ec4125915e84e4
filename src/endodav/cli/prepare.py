"""`endodav prepare`: from a download to a dataset that is known to be whole."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from endodav.cli.console import emit_json, err, plain_warnings, track
from endodav.data import DATASETS
from endodav.data.prepare import prepare as run_prepare
from endodav.data.registry import MANIFEST

PARTIAL_EXIT_CODE = 7


def _have(split: dict[str, Any]) -> str:
    """How much of a split is here."""
    here = split["sequences"] - len(split["missing_sequences"])
    sequences = f"{here} of {split['sequences']} sequences"
    if "frames" not in split:
        return sequences
    return f"{sequences}, {split['frames_here']} of {split['frames']} frames"


def prepare(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(DATASETS)}.")],
    root: Annotated[Path, typer.Option(help="Folder of the download; it is only read.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the manifest; default: ROOT-prepared.")
    ] = None,
    poses: Annotated[
        Path | None, typer.Option(help="SCARED only: re-estimated poses (SCARED-C).")
    ] = None,
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the manifest.")] = False,
) -> None:
    """Unpack and check a public dataset; run again, it continues where it was interrupted."""
    target = out or root.resolve().with_name(f"{root.resolve().name}-prepared")
    with plain_warnings():
        manifest = run_prepare(
            name, root, target, poses=poses, track=partial(track, quiet=quiet or json)
        )
    if json:
        emit_json(manifest)
    for problem in manifest["problems"]:
        err.print(f"endodav: {problem}", markup=False)
    if not quiet:
        sequences = manifest["sequences"]
        err.print(f"{len(sequences)} sequences, {manifest['frames']} frames: {target / MANIFEST}")
        for flag in sorted({flag for sequence in sequences for flag in sequence["flags"]}):
            count = sum(flag in sequence["flags"] for sequence in sequences)
            err.print(f"  {count} of them: {flag}", markup=False)
        for split, state in manifest["splits"].items():
            err.print(f"  published split {split}: {_have(state)}")
    if not manifest["complete"]:
        raise typer.Exit(PARTIAL_EXIT_CODE)
