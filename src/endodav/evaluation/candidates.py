"""Models and strategies on sequences: predicted once, stored, scored, and never done twice.

The work folder holds `predictions/`, one for each model, way of running it and video, and
`scores/CANDIDATE/VIDEO-PROTOCOL-FRAMES.json`. Scores say what they were made with, and are used
again only for the same weights, settings, data and protocol.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from endodav.data.sequence import Sample
from endodav.data.sequence import Sequence as Video
from endodav.evaluation.metrics import STANDARD, DepthSums, depth_compute, depth_update
from endodav.evaluation.predictions import Prediction
from endodav.evaluation.protocols import EvalFrame, Protocol, align, resized
from endodav.evaluation.reproduction import COLUMNS, Row, write_whole
from endodav.evaluation.runner import fingerprint, predict_once
from endodav.evaluation.temporal import (
    CONVENTIONS,
    Convention,
    TemporalSums,
    View,
    temporal_compute,
    temporal_update,
)
from endodav.inference.estimator import DepthEstimator
from endodav.types import Kind

Report = Callable[[str], object]
Errors = Mapping[str, float]  # of one video, by names of `reproduction.COLUMNS`


@dataclass(frozen=True)
class Candidate:
    """A row of a table that has not been computed.

    Attributes:
        name: of the row.
        load: makes the estimator; called when its turn comes, so that one model is in memory.
    """

    name: str
    load: Callable[[], DepthEstimator]


@dataclass(frozen=True)
class Clip:
    """Predictions on disk beside the truth of their video; can be gone through again and again.

    Attributes:
        prediction: of every frame.
        video: its truth; frames without any count as unknown all over.
        frames: how many from the start; None for all.
    """

    prediction: Prediction
    video: Video
    frames: int | None = None

    def __iter__(self) -> Iterator[EvalFrame]:
        samples = self.video.samples(stop=self.frames)
        for values, sample in zip(self.prediction.maps(), samples, strict=False):
            height, width = sample.image.shape[:2]
            yield EvalFrame(resized(values, height, width), *truth_of(sample))


def score_candidates(
    candidates: Iterable[Candidate],
    videos: Sequence[Video],
    protocol: Protocol,
    work: Path,
    report: Report,
    lengths: Sequence[int | None] = (None,),
) -> dict[str, list[list[Errors]]]:
    """Errors by candidate, then length, then video, in the orders given.

    Args:
        candidates: what to compare.
        videos: with ground truth in millimetres.
        protocol: of the alignment.
        work: folder for predictions and scores, made if absent.
        report: told what has been done, one sentence at a time.
        lengths: frames from the start of the video to align and score; None for all.

    Raises:
        InputError: a video has no usable truth, or a prediction cannot be aligned to it.
        WeightsError: a model cannot be loaded or run.
        OutputError: the work folder cannot be written.
    """
    found: dict[str, list[list[Errors]]] = {}
    digests = [fingerprint(video) for video in videos]
    for candidate in candidates:
        estimator = candidate.load()
        of_lengths: list[list[Errors]] = [[] for _ in lengths]
        for video, digest in zip(videos, digests, strict=True):
            stem = work / "scores" / file_name(candidate.name) / file_name(video.name)
            for errors, length in zip(of_lengths, lengths, strict=True):
                path = stem.with_name(f"{stem.name}-{protocol.name}-{length or 'all'}.json")
                errors.append(_errors(estimator, video, digest, protocol, length, path, work))
            report(f"{candidate.name}, {video.name}: {summary(of_lengths[0][-1:])}")
        found[candidate.name] = of_lengths
    return found


def as_row(name: str, runs: Sequence[Sequence[Errors]], metrics: Iterable[str]) -> Row:
    """A row of a table from the errors of each run and video, by those metrics that all have."""
    common = [m for m in metrics if all(m in errors for run in runs for errors in run)]
    return Row(name, {m: np.array([[errors[m] for errors in run] for run in runs]) for m in common})


def shortened(video: Video, frames: int | None) -> Video:
    """The first frames of a video, or all of it."""
    return video if frames is None else replace(video, refs=video.refs[:frames])


def _errors(
    estimator: DepthEstimator,
    video: Video,
    data_sha256: str,
    protocol: Protocol,
    length: int | None,
    path: Path,
    work: Path,
) -> Errors:
    """Errors of one video; from `path` where the same have been computed before."""
    meta = estimator.meta
    made_with = {
        "weights_sha256": meta.weights_sha256,
        "settings": json.loads(json.dumps(meta.settings)),
        "data": data_sha256,
        "protocol": protocol.name,
    }

    def make() -> list[Errors]:
        clip = Clip(predict_once(estimator, video, data_sha256, work), video, length)
        return [score_video(clip, meta.kind, video, protocol)]

    return kept(path, made_with, make)[0]


def kept(
    path: Path, made_with: Mapping[str, Any], make: Callable[[], list[Errors]]
) -> list[Errors]:
    """What `make` gives; from `path` where the same has been made with the same before.

    Raises:
        OutputError: the file cannot be written.
    """
    if path.exists():
        stored = json.loads(path.read_text())
        if stored["made_with"] == made_with:
            return list(stored["errors"])
    errors = make()
    write_whole(path, json.dumps({"made_with": made_with, "errors": errors}) + "\n")
    return errors


def summary(errors: Sequence[Errors]) -> str:
    """Means over videos, in a line."""
    row = as_row("", [errors], COLUMNS)
    return ", ".join(f"{name} {values.mean():.4g}" for name, values in row.scores.items())


def score_video(
    clip: Iterable[EvalFrame], kind: Kind, video: Video, protocol: Protocol
) -> dict[str, float]:
    """The standard errors of a video, and its TAE where camera and poses are known.

    TAE follows the convention of the paper that the protocol is named after, else VDA's.

    Raises:
        InputError: the truth is nowhere usable, or the prediction cannot be aligned to it.
    """
    parts: list[DepthSums] = []

    def views() -> Iterator[tuple[int, View]]:
        for frame in align(clip, kind, protocol):
            parts.append(depth_update(frame.depth, frame.truth, frame.usable, STANDARD))
            yield frame.index, View(frame.depth, frame.usable)

    temporal = consistency(views(), video, CONVENTIONS.get(protocol.name, CONVENTIONS["vda"]))
    errors = asdict(depth_compute(sum(parts, DepthSums())))
    tae = {"tae": temporal_compute(temporal).tae} if temporal.count else {}
    return {name: errors[name] for name in STANDARD} | tae


def true_tae(video: Video) -> float:
    """TAE of the truth itself, which motion of the tissue and distortion of the lens keep above 0.

    It is what a perfect prediction would score in VDA's convention; NaN without camera or poses.
    """
    truths = ((sample.index, truth_of(sample)) for sample in video)
    return temporal_compute(consistency(truths, video, CONVENTIONS["vda"])).tae


def consistency(
    views: Iterable[tuple[int, View]], video: Video, convention: Convention
) -> TemporalSums:
    """Temporal statistics of all neighbouring frames whose camera is known.

    Args:
        views: depth of frames by their index, in order; some may be missing.
        video: has their poses and intrinsics.
        convention: of the metric.
    """
    sums = TemporalSums()
    for (index, view), (following, next_view) in pairwise(views):
        before, after = video.refs[index], video.refs[following]
        K = video.intrinsics if before.intrinsics is None else before.intrinsics
        T_before, T_after = before.T_world_from_camera, after.T_world_from_camera
        if (
            following == index + 1
            and K is not None
            and T_before is not None
            and T_after is not None
        ):
            T_after_from_before = np.linalg.inv(T_after) @ T_before
            sums += temporal_update(view, next_view, T_after_from_before, K, convention)
    return sums


def truth_of(sample: Sample) -> View:
    """True depth of a frame and where it is known; nowhere, where the frame has none."""
    if sample.depth is None or sample.valid is None:
        unknown = np.zeros(sample.image.shape[:2], np.float32)
        return View(unknown, unknown > 0)
    return View(sample.depth, sample.valid)


def file_name(name: str) -> str:
    """A name without what a file system would take for a folder."""
    return re.sub(r"[^\w.-]+", "_", name)
