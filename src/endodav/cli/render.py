"""`endodav render`: synthetic endoscopy with ground truth."""

import time
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from endodav.cli.console import err, track
from endodav.data.dataset import Clip
from endodav.data.registry import DATASETS, find_dataset
from endodav.errors import OutputError, RecipeError
from endodav.synthetic import (
    FAMILIES,
    RENDERED,
    RenderedClip,
    render_benchmark,
    render_clip,
    write_clip,
)
from endodav.synthetic.writer import check_is_new

OWN_LAYOUT = "rendered"
LAYOUTS = (OWN_LAYOUT, *(name for name, dataset in DATASETS.items() if dataset.write))
FRAMES, HEIGHT, WIDTH, FPS = 50, 256, 320, 25.0


class What(StrEnum):
    """What to render."""

    CLIPS = "clips"
    BENCHMARK = "benchmark"


def render(
    out: Annotated[Path, typer.Option(help="Folder; clip K goes to OUT/clip_K.")],
    what: Annotated[
        What,
        typer.Argument(
            help="Random clips; or the fixed benchmark, 12 videos of 300 frames with a manifest, "
            "which goes on where it was interrupted."
        ),
    ] = What.CLIPS,
    clips: Annotated[int | None, typer.Option(min=1, help="How many clips; 1.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help=f"Frames a clip; {FRAMES}.")] = None,
    height: Annotated[int | None, typer.Option(min=2, help=f"Rows; {HEIGHT}.")] = None,
    width: Annotated[int | None, typer.Option(min=2, help=f"Columns; {WIDTH}.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the first clip, the next has seed + 1; 0.")
    ] = None,
    scene: Annotated[str | None, typer.Option(help=f"One of {', '.join(FAMILIES)}; mixed.")] = None,
    fps: Annotated[float | None, typer.Option(min=0.1, help=f"Frames a second; {FPS}.")] = None,
    flow: Annotated[bool | None, typer.Option("--flow", help="Write exact flow, too.")] = None,
    layout: Annotated[
        str | None, typer.Option(help=f"Files as those of {', '.join(LAYOUTS)}; {OWN_LAYOUT}.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes for the benchmark, up to 1.5 GB each; 2."),
    ] = None,
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
) -> None:
    """Render endoscopic clips with exact depth, pose and intrinsics."""
    own: dict[str, object] = {
        "clips": clips,
        "frames": frames,
        "height": height,
        "width": width,
        "seed": seed,
    }
    own |= {"scene": scene, "fps": fps, "flow": flow, "layout": layout}
    if what is What.BENCHMARK:
        _refuse(own, what)
        _render_benchmark(out, workers or 2, quiet)
        return
    _refuse({"workers": workers}, what)
    count, length = clips or 1, frames or FRAMES
    write = _writer(layout or OWN_LAYOUT, out, fps or FPS, count, bool(flow))

    def write_all() -> Iterator[int]:
        for k in range(count):
            size = (length, height or HEIGHT, width or WIDTH)
            write(render_clip((seed or 0) + k, *size, family=scene, flow=bool(flow)), k)
            yield length

    start = time.perf_counter()
    _follow(write_all(), count * length, quiet)
    speed = count * length / (time.perf_counter() - start)
    if not quiet:
        err.print(f"{count} clip(s) of {length} frames in {out}, {speed:.1f} frames/s")


def _render_benchmark(out: Path, workers: int, quiet: bool) -> None:
    done = (RENDERED.frames for _ in render_benchmark(out, RENDERED, workers))
    _follow(done, RENDERED.total_frames, quiet)
    if not quiet:
        err.print(f"{len(RENDERED.videos)} videos of {RENDERED.frames} frames in {out}")


def _writer(
    layout: str, out: Path, fps: float, count: int, flow: bool
) -> Callable[[RenderedClip, int], None]:
    """What writes clip K; where nothing may be overwritten, that is known before rendering."""
    if layout == OWN_LAYOUT:
        folders = [out / f"clip_{k:03d}" for k in range(count)]
        for folder in folders:
            check_is_new(folder)
        return lambda clip, k: write_clip(clip, folders[k], fps=fps)
    write = find_dataset(layout).write
    if write is None:
        raise RecipeError(f"No single camera fills {layout!r}; choose {', '.join(LAYOUTS)}.")
    if flow:
        raise RecipeError(f"The layout {layout!r} has no place for flow; leave --flow out.")
    if out.exists() and any(out.iterdir()):
        raise OutputError(f"{out} is not empty; give a new folder for the layout {layout!r}.")

    def write_foreign(clip: RenderedClip, k: int) -> None:
        if clip.distortion:
            err.print(f"clip {k}: the layout {layout!r} cannot say that the lens distorts")
        exact = (clip.T_world_from_camera.astype(float), clip.intrinsics.astype(float))
        plain = Clip(clip.images, clip.depth, *exact, fps)
        write(plain, out, k)

    return write_foreign


def _follow(done: Iterable[int], total: int, quiet: bool) -> None:
    """Show how many frames are done; `done` says of each finished part how many it had."""
    for _ in track((frame for part in done for frame in range(part)), "frames", total, quiet):
        pass


def _refuse(options: dict[str, object], what: What) -> None:
    """Options that would go unread."""
    for name, value in options.items():
        if value is not None:
            raise typer.BadParameter(f"--{name} has no meaning for `endodav render {what}`.")
