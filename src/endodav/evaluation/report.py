"""A report: every score with its protocol and interval, as JSON that reads back, and as Markdown.

A sequence weighs the same however long it is: means are over sequences, of means over frames.
Intervals come from drawing sequences with replacement; with one sequence there is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from endodav.errors import InputError
from endodav.evaluation.protocols import Protocol
from endodav.evaluation.reproduction import Interval, bootstrap
from endodav.evaluation.runner import Scored

FILENAME = "report.json"
INVERTED = (
    "the fit turns near and far round in {}; the prediction runs against the truth, so these "
    "errors measure the fit: check that the model suits the scene, and --kind."
)
DEGENERATE = (
    "the prediction leaves scale and shift undetermined in {}, as constants do; these frames count "
    "as the best constant."
)


class Title(NamedTuple):
    """How a metric is printed: its name, digits after the point, and which way is better."""

    text: str
    digits: int = 3
    lower_is_better: bool = True


TITLES: Mapping[str, Title] = {
    "abs_rel": Title("Abs Rel"),
    "sq_rel": Title("Sq Rel (mm)"),
    "rmse": Title("RMSE (mm)", 2),
    "rmse_log": Title("RMSE log"),
    "log10": Title("log10"),
    "i_rmse": Title("iRMSE (1/mm)", 4),
    "silog": Title("SILog", 2),
    "delta1": Title("delta1", 3, False),
    "delta2": Title("delta2", 3, False),
    "delta3": Title("delta3", 3, False),
    "spearman": Title("Spearman", 3, False),
    "boundary_f1": Title("Boundary F1", 3, False),
    "opw": Title("OPW (mm)", 2),
    "tae_endodav": Title("TAE (EndoDAV)", 2),
    "tas_endodav": Title("TAS (EndoDAV)", 3, False),
    "tae_vda": Title("TAE (VDA)", 2),
    "tas_vda": Title("TAS (VDA)", 3, False),
}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Summary(_Model):
    """Mean over sequences and its 95 % bootstrap interval, None where one sequence gives none."""

    mean: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """From the value of each sequence."""
        found = interval(values)
        low, high = (None if math.isnan(x) else x for x in (found.low, found.high))
        return cls(mean=found.mean, low=low, high=high)


class SequenceResult(_Model):
    """One sequence under one protocol; see `scoring.VideoScore`."""

    name: str
    frames: int
    clipped: float
    metrics: dict[str, float]
    drift: dict[int, float]
    notes: list[str]
    inverted: int = 0
    degenerate: int = 0


class ProtocolResult(_Model):
    """All sequences under one protocol, and what the protocol did."""

    protocol: str
    space: str
    scale_from: str
    range_mm: tuple[float, float | None]
    mean_over: Literal["images, then sequences"] = "images, then sequences"
    frames: int
    clipped: float
    metrics: dict[str, Summary]
    sequences: list[SequenceResult]


class Predictor(_Model):
    """Where the predictions come from."""

    model: str
    weights_sha256: str
    kind: str
    units: str
    seeds: str
    settings: dict[str, Any]


class Report(_Model):
    """Everything that `endodav eval` found out."""

    schema_version: Literal[1] = 1
    title: str
    data: str
    data_sha256: dict[str, str]
    predictor: Predictor
    results: list[ProtocolResult]
    versions: dict[str, str]

    def result(self, protocol: str) -> ProtocolResult | None:
        """The result of that protocol, if there is one."""
        return next((result for result in self.results if result.protocol == protocol), None)


def interval(values: Sequence[float]) -> Interval:
    """Mean over sequences with its 95 % bootstrap interval."""
    return bootstrap(np.array([values], np.float64))


def versions() -> dict[str, str]:
    """Versions of what decides numbers."""
    return {name: version(name) for name in ("endodav", "torch", "numpy")}


def summarise(protocol: Protocol, scored: Sequence[Scored]) -> ProtocolResult:
    """The result of one protocol; means are of metrics that every sequence has."""
    found = [
        (one.name, score)
        for one in scored
        for score in one.scores
        if score.protocol == protocol.name
    ]
    sequences = [
        SequenceResult(
            name=name,
            frames=score.frames,
            clipped=score.clipped,
            metrics=dict(score.metrics),
            drift=dict(score.drift),
            notes=list(score.notes),
            inverted=score.inverted,
            degenerate=score.degenerate,
        )
        for name, score in found
    ]
    common = [m for m in TITLES if all(m in sequence.metrics for sequence in sequences)]
    return ProtocolResult(
        protocol=protocol.name,
        space=str(protocol.space),
        scale_from=str(protocol.scope),
        range_mm=(protocol.nearest, protocol.farthest if protocol.farthest < math.inf else None),
        frames=sum(sequence.frames for sequence in sequences),
        clipped=float(np.mean([sequence.clipped for sequence in sequences])),
        metrics={m: Summary.of([s.metrics[m] for s in sequences]) for m in common},
        sequences=sequences,
    )


def read_report(path: Path) -> Report:
    """A report from its JSON, or from the folder that holds it.

    Raises:
        InputError: it is missing, or is no report of this version.
    """
    file = path / FILENAME if path.is_dir() else path
    try:
        return Report.model_validate_json(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file} cannot be read; give a report of `endodav eval`.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{file} is no report of this version ({where}: {first['msg']}); evaluate again."
        ) from error


def in_print(summary: Summary, title: Title) -> str:
    """`0.101 [0.094, 0.109]`, without bounds where there are none."""
    text = f"{summary.mean:.{title.digits}f}"
    if summary.low is None or summary.high is None:
        return text
    return f"{text} [{summary.low:.{title.digits}f}, {summary.high:.{title.digits}f}]"


def facts(report: Report) -> list[str]:
    """What every table has to say besides its numbers."""
    by = report.predictor
    sequences = max(len(result.sequences) for result in report.results)
    between = (
        "95 % bootstrap interval over sequences"
        if sequences > 1
        else "one sequence, so no interval"
    )
    return [
        f"data: {report.data}, {sequences} sequence{'s' * (sequences > 1)}",
        f"model: {by.model} ({by.kind.replace('_', ' ')}, {by.units}), weights {by.weights_sha256}",
        f"settings: {', '.join(f'{k} {v}' for k, v in by.settings.items()) or 'not known'}",
        f"mean over images, then sequences; {between}; seeds: {by.seeds}",
    ]


def header(metrics: Iterable[str]) -> list[str]:
    """Titles of a table of protocols."""
    fixed = ["protocol", "frames", "range (mm)", "clip"]
    return [*fixed, *(TITLES[metric].text for metric in metrics)]


def row(result: ProtocolResult, metrics: Iterable[str]) -> list[str]:
    """A protocol in print."""
    low, high = result.range_mm
    return [
        result.protocol,
        str(result.frames),
        f"{low:g}..{'inf' if high is None else f'{high:g}'}",
        f"to range, {result.clipped:.1%}",
        *(in_print(result.metrics[m], TITLES[m]) if m in result.metrics else "-" for m in metrics),
    ]


def notes(report: Report) -> list[str]:
    """What was noticed, each once, with the sequences it holds for."""
    where: dict[str, list[str]] = {}
    for result in report.results:
        for sequence in result.sequences:
            for note in sequence.notes:
                names = where.setdefault(note, [])
                if sequence.name not in names:
                    names.append(sequence.name)
    found = [f"{', '.join(names)}: {note}" for note, names in where.items()]
    return [
        *_odd_fits(report, "inverted", INVERTED),
        *_odd_fits(report, "degenerate", DEGENERATE),
        *found,
    ]


def _odd_fits(report: Report, count: str, said: str) -> Iterator[str]:
    """One sentence for each sequence with such frames, over all protocols."""
    for first in report.results[0].sequences:
        where = [
            f"{getattr(sequence, count)} of {sequence.frames} frames ({result.protocol})"
            for result in report.results
            for sequence in result.sequences
            if sequence.name == first.name and getattr(sequence, count)
        ]
        if where:
            yield f"{first.name}: {said.format(', '.join(where))}"


def metrics_of(report: Report) -> list[str]:
    """Metrics that any protocol has, in the order of print."""
    return [m for m in TITLES if any(m in result.metrics for result in report.results)]


def to_markdown(report: Report) -> str:
    """The report as text."""
    metrics = metrics_of(report)
    parts = [
        f"# {report.title}\n",
        "\n".join(f"- {fact}" for fact in facts(report)) + "\n",
        _markdown(header(metrics), [row(result, metrics) for result in report.results]),
    ]
    for result in report.results:
        rows = [
            [s.name, str(s.frames), *(_value(s.metrics.get(m), TITLES[m]) for m in metrics)]
            for s in result.sequences
        ]
        titles = ["sequence", "frames", *(TITLES[m].text for m in metrics)]
        parts += [f"\n## {result.protocol}\n", _markdown(titles, rows)]
    if found := notes(report):
        parts += ["\n## Notes\n", "\n".join(f"- {note}" for note in found) + "\n"]
    return "\n".join(parts)


def _value(value: float | None, title: Title) -> str:
    return "-" if value is None else f"{value:.{title.digits}f}"


def _markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
