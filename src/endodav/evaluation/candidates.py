"""Models and strategies on sequences, for the tables of papers: scored once, and kept.

The work folder holds `predictions/`, one for each model, way of running it and video, and
`scores/CANDIDATE/VIDEO-PROTOCOL.json`. Scores say what they were made with, and are used again only
for the same weights, settings, data, protocol and lengths.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from endodav.data.sequence import Sequence as Video
from endodav.evaluation.metrics import STANDARD
from endodav.evaluation.protocols import EvalFrame, Protocol
from endodav.evaluation.reproduction import COLUMNS, Row, write_whole
from endodav.evaluation.runner import evaluate_video, fingerprint, predict_once
from endodav.evaluation.scoring import VideoScore, score_video
from endodav.evaluation.temporal import CONVENTIONS
from endodav.inference.estimator import DepthEstimator
from endodav.types import Kind

Report = Callable[[str], object]
Errors = Mapping[str, Any]
"""Of one video: values by names of `reproduction.COLUMNS`, and under what circumstances."""


@dataclass(frozen=True)
class Candidate:
    """A row of a table that has not been computed.

    Attributes:
        name: of the row.
        load: makes the estimator; called when its turn comes, so that one model is in memory.
    """

    name: str
    load: Callable[[], DepthEstimator]


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
        rows: list[list[Errors]] = []
        for video, digest in zip(videos, digests, strict=True):
            name = f"{file_name(video.name)}-{protocol.name}.json"
            path = work / "scores" / file_name(candidate.name) / name
            rows.append(_errors(estimator, video, digest, protocol, lengths, path, work))
            report(f"{candidate.name}, {video.name}: {summary(rows[-1][:1])}")
        found[candidate.name] = [list(of_length) for of_length in zip(*rows, strict=True)]
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
    lengths: Sequence[int | None],
    path: Path,
    work: Path,
) -> list[Errors]:
    """Errors of one video by length; from `path` where the same have been computed before."""
    meta = estimator.meta
    made_with = {
        "weights_sha256": meta.weights_sha256,
        "settings": json.loads(json.dumps(meta.settings)),
        "data": data_sha256,
        "protocol": protocol.name,
        "lengths": list(lengths),
    }

    def make() -> list[Errors]:
        found = evaluate_video(
            predict_once(estimator, video, data_sha256, work),
            video,
            [protocol],
            metrics_for(protocol) if None in lengths else ("abs_rel",),
            lengths=[length for length in lengths if length is not None],
            scratch=work,
        ).scores[0]
        whole = as_errors(found) | {"weights": meta.weights_sha256}
        return [
            whole if n is None else whole | {"abs_rel": found.drift[n], "frames": n}
            for n in lengths
        ]

    return kept(path, made_with, make)


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


def metrics_for(protocol: Protocol) -> tuple[str, ...]:
    """The standard five, and TAE as the paper that the protocol is named after has it, else VDA."""
    return (*STANDARD, f"tae_{protocol.name if protocol.name in CONVENTIONS else 'vda'}")


def as_errors(found: VideoScore) -> dict[str, Any]:
    """A score by names of `reproduction.COLUMNS`, with what `circumstances` speaks of."""
    return {
        name.partition("_")[0] if name.startswith("tae") else name: value
        for name, value in found.metrics.items()
    } | {
        "frames": found.frames,
        "clipped": found.clipped,
        "inverted": found.inverted,
        "degenerate": found.degenerate,
    }


def errors_of(
    clip: Iterable[EvalFrame], kind: Kind, video: Video, protocol: Protocol
) -> dict[str, Any]:
    """The standard errors of a video in memory, and its TAE where camera and poses are known.

    Raises:
        InputError: the truth is nowhere usable, or the prediction cannot be aligned to it.
    """
    return as_errors(score_video(clip, kind, video, protocol, metrics_for(protocol)))


def describe(protocol: Protocol) -> str:
    """A protocol, for the head of a table."""
    return (
        f"Protocol {protocol.name} (aligned over the {protocol.scope} in {protocol.space}, "
        f"range {protocol.nearest:g} to {protocol.farthest:g} mm, to which depth is clipped), mean "
        "over frames, then videos, then runs"
    )


def circumstances(scores: Mapping[str, Sequence[Sequence[Errors]]]) -> Iterator[str]:
    """What a table has to say besides its numbers, from the errors by row, run and video."""
    every = {name: [errors for run in runs for errors in run] for name, runs in scores.items()}
    frames = max(sum(e["frames"] for e in run) for runs in scores.values() for run in runs)
    clipped = {name: np.mean([e["clipped"] for e in errors]) for name, errors in every.items()}
    most = max(clipped, key=lambda name: clipped[name])
    yield f"{frames} frames a row; alignment clips {clipped[most]:.1%} of pixels at most ({most})."
    weights = {name: errors[0].get("weights") for name, errors in every.items()}
    if all(weights.values()):
        yield f"Weights: {', '.join(f'{name} {digest}' for name, digest in weights.items())}."
    for name, errors in every.items():
        for count, said in (
            ("inverted", "are fitted with near and far turned round"),
            ("degenerate", "are constant, so that no fit exists"),
        ):
            if bad := sum(e[count] for e in errors):
                yield f"{bad} of {sum(e['frames'] for e in errors)} frames of {name} {said}."


def file_name(name: str) -> str:
    """A name without what a file system would take for a folder."""
    return re.sub(r"[^\w.-]+", "_", name)
