"""`endodav masks`: regions of each frame, for training with mask-guided smoothness."""

from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import typer

from endodav.cli.console import err, plain_warnings, track
from endodav.cli.options import Device
from endodav.inference.settings import choose_device
from endodav.video.masks import (
    SegmentAnything,
    Segmenter,
    label_path,
    superpixels,
    write_labels,
)
from endodav.video.source import open_source


def masks(
    source: Annotated[str, typer.Argument(help="A video, or a folder of images.")],
    out: Annotated[Path, typer.Option(help="Folder of label images, one a frame.")],
    method: Annotated[
        Literal["slic", "sam"], typer.Option(help="Superpixels, or a model of the SAM family.")
    ] = "slic",
    model: Annotated[
        str, typer.Option(help="SAM or MedSAM: a name on the Hugging Face hub, or a folder.")
    ] = "facebook/sam-vit-base",
    device: Device = "auto",
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many.")] = None,
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
) -> None:
    """Divide every frame into regions; frames that are done already are left as they are."""
    with plain_warnings(), open_source(source) as video:
        segment: Segmenter = (
            superpixels if method == "slic" else SegmentAnything(model, choose_device(device))
        )
        frames = islice(iter(video), max_frames)
        total = max_frames or video.info.frame_count
        for frame in track(frames, "frames", total, quiet):
            path = label_path(out, frame.index)
            if not path.exists():
                write_labels(path, segment(frame.image))
    if not quiet:
        err.print(f"Region labels in {out}", markup=False)
