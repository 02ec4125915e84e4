"""`endodav render`: synthetic endoscopy with ground truth."""

from pathlib import Path
from typing import Annotated

import typer

from endodav.cli.console import err, track
from endodav.synthetic import FAMILIES, render_clip, write_clip
from endodav.synthetic.writer import check_is_new


def render(
    out: Annotated[Path, typer.Option(help="Folder; clip K goes to OUT/clip_K.")],
    clips: Annotated[int, typer.Option(min=1, help="How many clips.")] = 1,
    frames: Annotated[int, typer.Option(min=1, help="Frames a clip.")] = 50,
    height: Annotated[int, typer.Option(min=2, help="Rows.")] = 256,
    width: Annotated[int, typer.Option(min=2, help="Columns.")] = 320,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the first clip; the next has seed + 1.")
    ] = 0,
    scene: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(FAMILIES)}; default: mixed.")
    ] = None,
    fps: Annotated[float, typer.Option(min=0.1, help="Frames a second.")] = 25.0,
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
) -> None:
    """Render endoscopic clips with exact depth, pose and intrinsics."""
    folders = [out / f"clip_{k:03d}" for k in range(clips)]
    for folder in folders:
        check_is_new(folder)
    for k, folder in enumerate(track(folders, "clips", clips, quiet)):
        clip = render_clip(seed + k, frames, height, width, family=scene)
        write_clip(clip, folder, fps=fps)
    if not quiet:
        err.print(f"{clips} clip(s) of {frames} frames in {out}")
