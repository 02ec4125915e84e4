"""`endodav eval`: predictions against ground truth, under protocols that are printed with them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from rich.table import Table

from endodav.cli.console import err, out, plain_warnings
from endodav.cli.depth import Precision
from endodav.cli.options import Device
from endodav.data.dataset import Dataset, Range
from endodav.data.registry import DATASETS, data_root, find_dataset
from endodav.data.sequence import Sequence as Video
from endodav.errors import EndoDAVError, InputError, RecipeError
from endodav.evaluation import report as reports
from endodav.evaluation.html import to_html
from endodav.evaluation.metrics import STANDARD
from endodav.evaluation.predictions import UNKNOWN, Prediction, open_prediction
from endodav.evaluation.protocols import Protocol
from endodav.evaluation.report import FILENAME, Predictor, Report, summarise
from endodav.evaluation.reproduction import write_whole
from endodav.evaluation.runner import (
    DRIFT_LENGTHS,
    Scored,
    choose_protocols,
    evaluate_video,
    fingerprint,
    predict_once,
)
from endodav.evaluation.scoring import EVERY
from endodav.inference.estimator import DepthEstimator
from endodav.inference.windows import PLANS
from endodav.types import Kind
from endodav.weights.licences import cache_folder

Limits = tuple[float, float]

# Names, and lengths of the drift curve.
METRIC_SETS: Mapping[str, tuple[Sequence[str], Sequence[int]]] = {
    "standard": (STANDARD, ()),
    "all": (EVERY, DRIFT_LENGTHS),
}
DETERMINISTIC = "one run, nothing drawn at random but the bootstrap (seed 0)"


@dataclass(frozen=True)
class Job:
    """What is scored: a prediction for each video, made when its turn comes."""

    videos: Sequence[Video]
    predictions: Iterator[Prediction]
    name: str
    data_sha256: dict[str, str]


def evaluate(
    data: Annotated[
        str | None, typer.Option(help="NAME=DIR of a dataset, or DIR to find out its layout.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A name from `endodav models`, or a training run folder.")
    ] = None,
    pred: Annotated[
        list[Path] | None,
        typer.Option(help="Instead of a model: NPZ, or folder of NPY, PNG or EXR; one a sequence."),
    ] = None,
    gt: Annotated[str | None, typer.Option(help="Ground truth for --pred, as --data.")] = None,
    kind: Annotated[
        Literal["depth", "inverse_depth"] | None,
        typer.Option(help="What --pred holds, where the files do not say it."),
    ] = None,
    protocol: Annotated[str, typer.Option(help="all, or names separated by commas.")] = "all",
    metrics: Annotated[
        Literal["standard", "all"], typer.Option(help="The five of most papers, or all.")
    ] = "all",
    depth_range: Annotated[
        str | None,
        typer.Option("--range", help="NEAR:FAR of the truth in mm; default: by dataset."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Checkpoint (.pth or .safetensors) for --model.")
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(help=f"{', '.join(PLANS)}; default: the model's own.")
    ] = None,
    window: Annotated[int | None, typer.Option(help="Frames a window.")] = None,
    streaming: Annotated[bool, typer.Option(help="One frame at a time, without windows.")] = False,
    input_size: Annotated[
        int | None, typer.Option(help="Shorter side of what the network sees, in pixels.")
    ] = None,
    precision: Annotated[Precision, typer.Option(help="Arithmetic of the network.")] = "auto",
    device: Device = "auto",
    only: Annotated[str, typer.Option(help="Sequences whose name matches, as in 's1/*'.")] = "*",
    out_dir: Annotated[Path, typer.Option("--out", help="Folder of the report.")] = Path("eval"),
    cache: Annotated[
        Path | None, typer.Option(help="Where predictions are kept and scratch files are made.")
    ] = None,
    quiet: Annotated[bool, typer.Option(help="No progress and no table.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Score a model, or predictions that are there, under every protocol; write a report."""
    place = cache or cache_folder()
    given = [name for name, value in (("--model", model), ("--pred", pred)) if value]
    root = gt if pred else data
    if len(given) != 1 or root is None or (gt is not None) != bool(pred):
        raise RecipeError("Give --data with --model, or --gt with --pred.")
    with plain_warnings():
        videos, usual = open_videos(root, only)
        if pred:
            job = _of_files(pred, videos, None if kind is None else Kind(kind))
        else:
            estimator = DepthEstimator.from_pretrained(
                str(model),
                weights=weights,
                strategy=strategy,
                window=window,
                streaming=streaming,
                input_size=input_size,
                precision=precision,
                device=device,
                announce=None if quiet or json else err.print,
            )
            digests = _digests(videos)
            predictions = (
                predict_once(estimator, video, digests[video.name], place) for video in videos
            )
            job = Job(videos, predictions, estimator.meta.model, digests)
        limits = usual if depth_range is None else parse_range(depth_range)
        silent = quiet or json
        report = run(job, root, protocol, limits, metrics, place, out_dir, silent)
    if json:
        print(report.model_dump_json())
    elif not quiet:
        show(report)
        err.print(f"Report: {out_dir / 'report.html'}, report.md, {FILENAME}")


def run(
    job: Job,
    data: str,
    protocol: str,
    limits: Limits | None,
    metrics: str,
    scratch: Path,
    out_dir: Path,
    quiet: bool,
) -> Report:
    """Score every video of a job and write the report in three forms."""
    names, lengths = METRIC_SETS[metrics]
    scored: list[Scored] = []
    protocols: list[Protocol] = []
    first: Prediction | None = None
    for video, prediction in zip(job.videos, job.predictions, strict=True):
        if first is None:
            first, protocols = prediction, choose_protocols(protocol, prediction.kind)
            if limits is not None:
                low, high = limits
                protocols = [replace(one, nearest=low, farthest=high) for one in protocols]
        if prediction.kind is not first.kind:
            raise InputError(f"{prediction.path} and {first.path} hold depth of different kinds.")
        found = evaluate_video(
            prediction, video, protocols, names, lengths=lengths, scratch=scratch, pictures=True
        )
        scored.append(found)
        if not quiet:
            shown = next(score for score in found.scores if score.metrics)
            err.print(f"{video.name}: Abs Rel {shown.metrics['abs_rel']:.3f} ({shown.protocol})")
    assert first is not None
    report = Report(
        title=f"{job.name} on {data}",
        data=data,
        data_sha256=job.data_sha256,
        predictor=_predictor(job.name, first),
        results=[summarise(one, scored) for one in protocols],
        versions=reports.versions(),
    )
    pictures = {one.name: one.pictures for one in scored if one.pictures is not None}
    write_whole(out_dir / FILENAME, report.model_dump_json(indent=2) + "\n")
    write_whole(out_dir / "report.md", reports.to_markdown(report))
    write_whole(out_dir / "report.html", to_html(report, pictures))
    return report


def open_videos(text: str, only: str) -> tuple[list[Video], Limits | None]:
    """Sequences of `NAME=DIR` or `DIR` that have ground truth, and the range of their depth.

    The range is None for endoscopy, for which that of the protocols is made. Where the layout does
    not say what kind of place it shows, the first depth does.

    Raises:
        InputError: there are none.
    """
    name, equals, folder = text.partition("=")
    root = Path(folder if equals else text)
    dataset = find_dataset(name) if equals else _layout_of(root)
    videos = [
        video
        for video in dataset.sequences(data_root(root))
        if fnmatch(video.name, only) and any(ref.depth is not None for ref in video.refs)
    ]
    if not videos:
        raise InputError(f"{root} has no sequence with ground truth that matches {only!r}.")
    place = dataset.range if dataset.range is not Range.ANY else _place_of(videos)
    return videos, None if place is Range.ENDOSCOPE else place.value


def _place_of(videos: Sequence[Video]) -> Range:
    """The smallest kind of place that the first valid depth fits into; endoscopy without any."""
    depths = (sample.depth for video in videos for sample in video if sample.depth is not None)
    valid = next((depth[depth > 0] for depth in depths if (depth > 0).any()), None)
    if valid is None:
        return Range.ENDOSCOPE
    median = float(np.median(valid))
    return next(place for place in Range if median <= place.value[1])


def _layout_of(root: Path) -> Dataset:
    for dataset in DATASETS.values():
        try:
            if dataset.places(data_root(root)):
                return dataset
        except EndoDAVError:
            continue
    raise InputError(
        f"{root} has no layout that is known; give NAME=DIR with one of {', '.join(DATASETS)}."
    )


def parse_range(text: str) -> Limits:
    """Limits of depth in mm.

    Raises:
        RecipeError: it is not NEAR:FAR.
    """
    near, _, far = text.partition(":")
    try:
        low, high = float(near), float(far)
    except ValueError:
        low, high = 1.0, 0.0
    if not 0 < low < high:
        raise RecipeError(f"The range {text!r} is not understood; give NEAR:FAR in mm, as 1:150.")
    return low, high


def _of_files(paths: Sequence[Path], videos: Sequence[Video], kind: Kind | None) -> Job:
    if len(paths) != len(videos):
        raise InputError(
            f"There are {len(paths)} predictions for {len(videos)} sequences "
            f"({', '.join(video.name for video in videos)}); give one --pred each, in this order."
        )
    predictions = [open_prediction(path, kind) for path in paths]
    model = str(predictions[0].meta.get("model", predictions[0].path.name))
    return Job(videos, iter(predictions), model, _digests(videos))


def _digests(videos: Sequence[Video]) -> dict[str, str]:
    """What each video is made of; reads all its files, so once for predictions and report."""
    return {video.name: fingerprint(video) for video in videos}


def _predictor(name: str, prediction: Prediction) -> Predictor:
    meta = prediction.meta
    return Predictor(
        model=name,
        weights_sha256=str(meta.get("weights_sha256", UNKNOWN)),
        kind=str(prediction.kind),
        units=str(meta.get("units", UNKNOWN)),
        seeds=DETERMINISTIC if meta else UNKNOWN,
        settings=dict(meta.get("settings", {})),
    )


def show(report: Report) -> None:
    """The table, with everything that it is made with."""
    metrics = reports.metrics_of(report)
    for fact in reports.facts(report):
        out.print(fact, markup=False)
    columns = [reports.row(result, metrics) for result in report.results]
    titles, *lines = zip(reports.header(metrics), *columns, strict=True)
    table = Table(*titles)
    for line in lines:
        table.add_row(*line)
    out.print(table)
    for note in reports.notes(report):
        err.print(f"endodav: {note}", markup=False)
