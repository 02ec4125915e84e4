"""`endodav depth`: any video in, depth out. The one loop of the house, with its options."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from endodav.cli.console import emit_json, err, plain_warnings, track
from endodav.cli.options import Compile, Device
from endodav.errors import RecipeError
from endodav.inference.estimator import DepthEstimator
from endodav.inference.settings import OUTPUT_SIZES
from endodav.inference.windows import PLANS
from endodav.video.sink import open_sink
from endodav.video.sinks import FORMATS
from endodav.video.sinks.format import Layout
from endodav.video.source import open_source

PARTIAL_EXIT_CODE = 7
DEFAULT_FORMATS = "video,npz"

Precision = Literal["auto", "fp32", "fp16", "bf16"]
Backend = Literal["torch", "openvino", "onnx", "tensorrt"]


@dataclass(frozen=True)
class Clip:
    """Which part of the input, at which rate, decoded by what."""

    start: float | None = None
    end: float | None = None
    fps: float | None = None
    hwaccel: str = "none"


@dataclass(frozen=True)
class Output:
    """Where results go and how they look."""

    directory: Path
    formats: Sequence[str]
    layout: Layout = "side-by-side"
    overwrite: bool = False


@dataclass(frozen=True)
class Report:
    """What a run did."""

    frames: int
    seconds: float
    outputs: tuple[str, ...]
    model: str
    kind: str
    units: str
    licence: str
    weights_sha256: str
    loss: str | None
    warm_up_seconds: float | None


def estimate(
    load: Callable[[], DepthEstimator], spec: str | Path, clip: Clip, output: Output, quiet: bool
) -> Report:
    """Run an estimator over `spec` into every format of `output`, and say what was done.

    It is loaded once the input is known to be good, since that may mean a long download.

    Raises:
        EndoDAVError: whatever was wrong with the input, the model or the output.
    """
    frames, begin = 0, time.perf_counter()
    with open_source(spec, **vars(clip)) as source:
        estimator = load()
        info, meta = source.info, estimator.meta.with_source(source.info.name)
        with open_sink(
            output.directory,
            output.formats,
            meta=meta,
            info=info,
            layout=output.layout,
            overwrite=output.overwrite,
        ) as sink:
            for frame in track(estimator.run(source), info.name, info.frame_count, quiet):
                sink.write(frame)
                frames += 1
        loss = getattr(source, "loss", None)
    return Report(
        frames=frames,
        seconds=round(time.perf_counter() - begin, 3),
        outputs=tuple(str(output.directory / FORMATS[name].filename) for name in output.formats),
        model=meta.model,
        kind=meta.kind,
        units=meta.units,
        licence=meta.licence,
        weights_sha256=meta.weights_sha256,
        loss=loss,
        warm_up_seconds=estimator.warm_up_seconds,
    )


def say(report: Report) -> None:
    """Tell a person what a run did."""
    rate = report.frames / report.seconds if report.seconds else 0.0
    err.print(
        f"{report.frames} frames in {report.seconds:.1f} s ({rate:.1f} frames/s): "
        f"{report.kind.replace('_', ' ')}, {report.units}, by {report.model} ({report.licence})"
    )
    if report.warm_up_seconds is not None:
        err.print(f"  {report.warm_up_seconds:.1f} s of it for compiling")
    for path in report.outputs:
        err.print(f"  {path}")


def depth(
    input: Annotated[  # noqa: A002 - the name a user reads
        str, typer.Argument(help="Video file, folder of images, or glob pattern in quotes.")
    ],
    model: Annotated[
        str, typer.Option(help="A name from `endodav models`, a run folder, or an export.")
    ] = "endodav-tiny",
    weights: Annotated[
        Path | None, typer.Option(help="Checkpoint (.pth or .safetensors) for that architecture.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; default: <input name>_depth.")
    ] = None,
    format: Annotated[  # noqa: A002
        str, typer.Option(help=f"Any of {','.join(FORMATS)}, separated by commas.")
    ] = DEFAULT_FORMATS,
    strategy: Annotated[
        str | None,
        typer.Option(help=f"How windows are joined: {', '.join(PLANS)}; default: the model's own."),
    ] = None,
    window: Annotated[int | None, typer.Option(help="Frames a window.")] = None,
    overlap: Annotated[int | None, typer.Option(help="Frames that windows share.")] = None,
    input_size: Annotated[
        int | None, typer.Option(help="Shorter side of what the network sees, in pixels.")
    ] = None,
    output_size: Annotated[
        str, typer.Option(help="source, model, or WIDTHxHEIGHT of the depth maps.")
    ] = "source",
    precision: Annotated[
        Precision, typer.Option(help="Arithmetic; auto is fp16 on CUDA and fp32 elsewhere.")
    ] = "auto",
    backend: Annotated[
        Backend, typer.Option(help="What computes; see `endodav export`.")
    ] = "torch",
    device: Device = "auto",
    memory_limit: Annotated[
        str | None, typer.Option(help="Most memory to hold, as in 3GB; the depth is the same.")
    ] = None,
    compile: Compile = "none",  # noqa: A002
    start: Annotated[float | None, typer.Option(help="Start at this second.")] = None,
    end: Annotated[float | None, typer.Option(help="Stop before this second.")] = None,
    fps: Annotated[
        float | None, typer.Option(help="Resample by time to this rate; the duration stays.")
    ] = None,
    hwaccel: Annotated[
        str, typer.Option(help="Hardware that decodes: none, auto, or FFmpeg's name (cuda).")
    ] = "none",
    streaming: Annotated[
        bool, typer.Option(help="One frame in, one depth out, without looking ahead.")
    ] = False,
    layout: Annotated[Layout, typer.Option(help="What the preview video shows.")] = "side-by-side",
    permissive_only: Annotated[
        bool, typer.Option(help="Refuse weights that may not be used commercially.")
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace results that are there.")] = False,
    quiet: Annotated[bool, typer.Option(help="No progress, no summary.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Estimate depth for a video, a folder of images or a glob of images."""
    formats = tuple(dict.fromkeys(name.strip() for name in format.split(",")))
    silent = quiet or json
    with plain_warnings():
        load = partial(
            DepthEstimator.from_pretrained,
            model,
            weights=weights,
            device=device,
            precision=precision,
            backend=backend,
            memory_limit=None if memory_limit is None else number_of_bytes(memory_limit),
            compile=compile,
            strategy=strategy,
            input_size=input_size,
            output_size=_output_size(output_size),
            window=window,
            overlap=overlap,
            streaming=streaming,
            permissive_only=permissive_only,
            announce=None if silent else err.print,
        )
        directory = out or Path(f"{Path(input).stem.replace('*', '')}_depth")
        output = Output(directory, formats, layout, overwrite)
        report = estimate(load, input, Clip(start, end, fps, hwaccel), output, silent)
    if json:
        emit_json(vars(report))
    elif not quiet:
        say(report)
    if report.loss is not None:
        raise typer.Exit(PARTIAL_EXIT_CODE)


def number_of_bytes(text: str) -> int:
    """An amount of memory as a user writes it: 3GB, 3 GiB, 3000MB.

    Raises:
        RecipeError: it is not one.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([MG])(i?)B", text.strip(), re.IGNORECASE)
    if found is None:
        raise RecipeError(f"A memory limit of '{text}' is not understood; write it as in 3GB.")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** ({"m": 2, "g": 3}[unit.lower()]))


def _output_size(text: str) -> str | tuple[int, int]:
    return text if text in OUTPUT_SIZES else width_and_height(text, "Output size", OUTPUT_SIZES)


def width_and_height(text: str, what: str, words: Sequence[str] = ()) -> tuple[int, int]:
    """A size in pixels as a user writes it.

    Args:
        text: WIDTHxHEIGHT.
        what: it is called in the sentence about a size that is none.
        words: other choices there.

    Raises:
        RecipeError: it is no size.
    """
    width, cross, height = text.lower().partition("x")
    digits = width.isdecimal() and height.isdecimal()
    if not (cross and digits and int(width) and int(height)):
        choice = " or ".join((*words, "WIDTHxHEIGHT (640x512)"))
        raise RecipeError(f"{what} {text!r} is not understood; use {choice}.")
    return int(width), int(height)
