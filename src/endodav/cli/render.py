"""`endodav render`: synthetic endoscopy with ground truth."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from endodav.cli.console import err, track
from endodav.synthetic import FAMILIES, RENDERED_1, render_benchmark, render_clip, write_clip
from endodav.synthetic.writer import check_is_new

app = typer.Typer()

Quiet = Annotated[bool, typer.Option(help="No progress.")]


@app.callback(invoke_without_command=True)
def render(
    context: typer.Context,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder; clip K goes to OUT/clip_K.", show_default="required"),
    ] = None,
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
    flow: Annotated[bool, typer.Option("--flow", help="Write exact optical flow, too.")] = False,
    quiet: Quiet = False,
) -> None:
    """Render endoscopic clips with exact depth, pose and intrinsics."""
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    if out is None:
        raise typer.BadParameter("Say where to write: --out FOLDER.")
    folders = [out / f"clip_{k:03d}" for k in range(clips)]
    for folder in folders:
        check_is_new(folder)

    def write_all() -> Iterator[int]:
        for k, folder in enumerate(folders):
            clip = render_clip(seed + k, frames, height, width, family=scene, flow=flow)
            write_clip(clip, folder, fps=fps)
            yield frames

    start = time.perf_counter()
    _follow(write_all(), clips * frames, quiet)
    speed = clips * frames / (time.perf_counter() - start)
    if not quiet:
        err.print(f"{clips} clip(s) of {frames} frames in {out}, {speed:.1f} frames/s")


@app.command()
def benchmark(
    out: Annotated[Path, typer.Option(help="Folder; videos that it holds already are kept.")],
    workers: Annotated[
        int, typer.Option(min=1, help="Processes with one thread and up to 1.5 GB each.")
    ] = 2,
    quiet: Quiet = False,
) -> None:
    """Render the fixed benchmark: 12 videos of 300 frames, with a manifest. Can be resumed."""
    done = (RENDERED_1.frames for _ in render_benchmark(out, RENDERED_1, workers))
    _follow(done, RENDERED_1.total_frames, quiet)
    if not quiet:
        err.print(f"{len(RENDERED_1.videos)} videos of {RENDERED_1.frames} frames in {out}")


def _follow(done: Iterable[int], total: int, quiet: bool) -> None:
    """Show how many frames are done; `done` says of each finished part how many it had."""
    for _ in track((frame for part in done for frame in range(part)), "frames", total, quiet):
        pass


def _refuse_options(context: typer.Context) -> None:
    """Options before a sub-command would go unread."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(
                f"--{name} belongs to `endodav render` alone, not to {context.invoked_subcommand}."
            )
