"""A table like those in papers: rows with intervals, the paper's figures beside them, a verdict.

Every row is scored on the same videos, so two rows are compared by their differences video by
video. What is said of a table is computed from these differences and never from their means alone.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import chain, combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from endodav.errors import OutputError
from endodav.files import written_whole

RESAMPLES = 5000
TAIL = 2.5  # percent on either side of a 95 % interval

Scores = Float[np.ndarray, "runs videos"]


class Column(NamedTuple):
    """How a metric is printed.

    Attributes:
        title: its name in print.
        digits: after the point.
        sign: -1 where lower is better, 1 where higher is.
    """

    title: str
    digits: int = 3
    sign: int = -1


COLUMNS: Mapping[str, Column] = {
    "abs_rel": Column("Abs Rel"),
    "sq_rel": Column("Sq Rel"),
    "rmse": Column("RMSE", 2),
    "rmse_log": Column("RMSE log"),
    "delta1": Column("delta1", sign=1),
    "tae": Column("TAE", 2),
}


class Interval(NamedTuple):
    """A mean and its 95 % bootstrap interval; the bounds are NaN where one video gives none.

    With few videos (ten, say) the interval is too narrow: it knows only the videos that it has.
    """

    mean: float
    low: float
    high: float

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def bootstrap(values: Scores) -> Interval:
    """Mean over runs and videos; both are drawn anew with replacement, independently.

    The draws are the same for every call, so equal tables print equal intervals.
    """
    runs, videos = values.shape
    mean = float(values.mean())
    if videos < 2:
        return Interval(mean, float("nan"), float("nan"))
    rng = np.random.default_rng(0)
    drawn_runs = rng.integers(runs, size=(RESAMPLES, runs, 1))
    drawn_videos = rng.integers(videos, size=(RESAMPLES, 1, videos))
    means = values[drawn_runs, drawn_videos].mean(axis=(1, 2))
    return Interval(mean, *(float(bound) for bound in np.percentile(means, [TAIL, 100 - TAIL])))


@dataclass(frozen=True)
class Row:
    """One method.

    Attributes:
        name: in print, unlike all others of the table.
        scores: of each metric, one value a run and video.
    """

    name: str
    scores: Mapping[str, Scores]


@dataclass(frozen=True)
class Published:
    """What a paper says, as far as it is known for certain.

    Attributes:
        source: paper and table.
        figures: of a row, by metric.
        chosen: the row that the authors chose, where their figures are not at hand.
        rivals: the rows that they chose it from.
    """

    source: str
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    chosen: str | None = None
    rivals: Sequence[str] = ()

    def orders(self, metric: str, sign: int, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Pairs (better, worse) of `names` as the paper has them; `sign` is the metric's."""
        if not self.figures:
            if self.chosen is not None and self.chosen in names:
                yield from ((self.chosen, name) for name in self.rivals if name in names)
            return
        known = [name for name in names if metric in self.figures.get(name, {})]
        for first, second in combinations(known, 2):
            gap = sign * (self.figures[first][metric] - self.figures[second][metric])
            if gap:
                yield (first, second) if gap > 0 else (second, first)


@dataclass(frozen=True)
class Table:
    """Rows scored on the same videos, and what a paper says about the same comparison.

    Attributes:
        title: what is compared.
        protocol: how predictions were aligned and averaged.
        videos: names, in the order of the scores.
        rows: at least one; metrics that not every row has are not printed.
        published: the paper's table.
        columns: of the metrics that may be printed.
        baseline: row that differences are taken to, None for none.
        notes: what else a reader has to know.
        details: what reproduces the table, for the JSON file.
    """

    title: str
    protocol: str
    videos: Sequence[str]
    rows: Sequence[Row]
    published: Published
    columns: Mapping[str, Column] = field(default_factory=lambda: COLUMNS)
    baseline: str | None = None
    notes: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics that every row has, in the order of the columns."""
        return [name for name in self.columns if all(name in row.scores for row in self.rows)]

    @property
    def names(self) -> list[str]:
        """Names of the rows."""
        return [row.name for row in self.rows]

    def row(self, name: str) -> Row:
        """The row of that name."""
        return self.rows[self.names.index(name)]

    def difference(self, name: str, other: str, metric: str) -> Interval:
        """Row `name` minus row `other`, paired by run and video."""
        return bootstrap(self.row(name).scores[metric] - self.row(other).scores[metric])

    def ranked(self, metric: str) -> list[str]:
        """Names of the rows, the best first."""
        sign = self.columns[metric].sign
        return sorted(
            self.names,
            key=lambda name: sign * float(self.row(name).scores[metric].mean()),
            reverse=True,
        )

    def findings(self) -> list[str]:
        """One sentence a metric on what is best, and one on what the paper says."""
        found = [self._best(metric) for metric in self.metrics if len(self.rows) > 1]
        return [*found, *filter(None, map(self._agreement, self.metrics)), *self.notes]

    def _best(self, metric: str) -> str:
        column = self.columns[metric]
        best, second = self.ranked(metric)[:2]
        gap = self.difference(best, second, metric)
        verdict = "significant" if gap.significant else "not significant"
        return (
            f"{column.title}: {best} is best; its difference to {second}, the next, is {verdict} "
            f"({in_print(gap, column.digits)})."
        )

    def _agreement(self, metric: str) -> str | None:
        """How many of the paper's orders hold here, and which ones are reversed."""
        column, holding, undecided = self.columns[metric], 0, 0
        reversed_: list[str] = []
        for better, worse in self.published.orders(metric, column.sign, self.names):
            gap = self.difference(better, worse, metric)
            if not gap.significant:
                undecided += 1
            elif gap.mean * column.sign > 0:
                holding += 1
            else:
                reversed_.append(f"{worse} before {better}")
        total = holding + undecided + len(reversed_)
        if total == 0:
            return None
        said = "orders" if self.published.figures else f"orders with {self.published.chosen} ahead"
        verdict = "disagrees" if reversed_ else "agrees" if holding else "is not decided"
        which = f" ({', '.join(reversed_)})" if reversed_ else ""
        return (
            f"{column.title} {verdict}: of the {total} {said} in {self.published.source}, "
            f"{holding} hold here, {undecided} are within the interval and "
            f"{len(reversed_)} are reversed{which}."
        )

    def header(self) -> list[str]:
        """Titles of the printed columns."""
        titles = [""]
        for metric in self.metrics:
            titles.append(self.columns[metric].title)
            if self._has_figures(metric):
                titles.append(f"{self.columns[metric].title} (paper)")
            if self.baseline is not None:
                titles.append(f"- {self.baseline}")
        return titles

    def cells(self) -> Iterator[list[str]]:
        """The printed rows; a star marks a significant difference to the baseline."""
        for row in self.rows:
            texts = [list(self._texts(row, metric)) for metric in self.metrics]
            yield [row.name, *chain.from_iterable(texts)]

    def _texts(self, row: Row, metric: str) -> Iterator[str]:
        digits = self.columns[metric].digits
        yield in_print(bootstrap(row.scores[metric]), digits)
        if self._has_figures(metric):
            figure = self.published.figures.get(row.name, {}).get(metric)
            yield "" if figure is None else f"{figure:.{digits}f}"
        if self.baseline == row.name:
            yield ""
        elif self.baseline is not None:
            gap = self.difference(row.name, self.baseline, metric)
            yield f"{gap.mean:+.{digits}f}{'*' if gap.significant else ''}"

    def _has_figures(self, metric: str) -> bool:
        figures = self.published.figures
        return any(metric in figures.get(name, {}) for name in self.names)

    def to_markdown(self) -> str:
        """Title, protocol, table and findings."""
        lines = [self.header(), ["---"] * len(self.header()), *self.cells()]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        found = "\n".join(f"- {sentence}" for sentence in self.findings())
        star = "" if self.baseline is None else f"; * differs from {self.baseline} significantly"
        return (
            f"# {self.title}\n\n{self.protocol}; {len(self.videos)} videos; mean [95 % bootstrap "
            f"interval]{star}.\n\n{table}\n\n{found}\n"
        )

    def to_json(self) -> dict[str, Any]:
        """Everything the table is made of, each value of each video included."""
        return {
            "title": self.title,
            "protocol": self.protocol,
            "videos": list(self.videos),
            "baseline": self.baseline,
            "rows": [self._row_to_json(row) for row in self.rows],
            "published": {"source": self.published.source, "chosen": self.published.chosen},
            "findings": self.findings(),
            "details": dict(self.details),
            "versions": {name: version(name) for name in ("endodav", "torch", "numpy")},
            "machine": platform.machine(),
        }

    def _row_to_json(self, row: Row) -> dict[str, Any]:
        metrics = {}
        for metric in row.scores:
            entry: dict[str, Any] = _finite(bootstrap(row.scores[metric]))
            entry["values"] = row.scores[metric].round(6).tolist()
            if metric in self.metrics and self.baseline not in (None, row.name):
                gap = self.difference(row.name, str(self.baseline), metric)
                entry["difference"] = _finite(gap) | {"significant": gap.significant}
            metrics[metric] = entry
        paper = dict(self.published.figures.get(row.name, {}))
        return {"name": row.name, "metrics": metrics, "paper": paper}


def in_print(interval: Interval, digits: int) -> str:
    """`0.101 [0.094, 0.109]`, without bounds where there are none."""
    bounds = f" [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"
    return f"{interval.mean:.{digits}f}{'' if np.isnan(interval.low) else bounds}"


def _finite(interval: Interval) -> dict[str, Any]:
    """For JSON, which knows no NaN."""
    return {name: None if np.isnan(x) else round(x, 6) for name, x in interval._asdict().items()}


def write_table(table: Table, stem: Path) -> tuple[Path, Path]:
    """Write `stem`.json and `stem`.md, each whole or not at all.

    Raises:
        OutputError: they cannot be written there.
    """
    texts = {
        stem.with_suffix(".json"): json.dumps(table.to_json(), indent=2) + "\n",
        stem.with_suffix(".md"): table.to_markdown(),
    }
    for path, text in texts.items():
        write_whole(path, text)
    json_path, markdown_path = texts
    return json_path, markdown_path


def write_whole(path: Path, text: str) -> None:
    """Write a small file under another name and rename it; make its folder.

    Raises:
        OutputError: it cannot be written there.
    """
    try:
        with written_whole(path) as partial:
            partial.write_text(text)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}); choose another place."
        ) from error
