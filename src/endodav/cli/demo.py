"""`endodav demo`: the bundled clip through the bundled weights."""

from functools import partial
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from endodav.cli.console import err, plain_warnings
from endodav.cli.depth import Clip, Output, estimate, say
from endodav.inference.estimator import DepthEstimator

DEMO_FORMATS = ("video", "npz", "png16")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    overwrite: Annotated[bool, typer.Option(help="Replace results that are there.")] = False,
    quiet: Annotated[bool, typer.Option(help="No progress, no summary.")] = False,
) -> None:
    """Estimate the depth of the bundled, rendered clip: needs no data and no network."""
    clip = resources.files("endodav.synthetic") / "demo.mp4"
    with plain_warnings(), resources.as_file(clip) as path:
        load = partial(
            DepthEstimator.from_pretrained, "endodav-tiny", announce=None if quiet else err.print
        )
        report = estimate(load, path, Clip(), Output(out, DEMO_FORMATS, overwrite=overwrite), quiet)
    if not quiet:
        say(report)
        err.print(
            f"Open {out / 'depth.mp4'} to see it; `endodav info {out / 'depth.npz'}` to read it."
        )
