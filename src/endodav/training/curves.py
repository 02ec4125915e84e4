"""The curves of a run, drawn from its log: one page that needs nothing else."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from endodav.evaluation.charts import Points, line_chart
from endodav.files import written_whole

LOSSES = ("loss", "clips/spatial", "clips/temporal", "clips/log", "images/spatial", "images/log")
ERRORS = ("abs_rel", "delta1", "spearman")
MOST_POINTS = 200  # of a line; longer ones are averaged over stretches

Lines = dict[str, Points]


def write_curves(log: Path, page: Path) -> None:
    """Draw losses and errors over the steps, as far as `log` has any, into an HTML page."""
    losses: dict[str, list[tuple[float, float]]] = defaultdict(list)
    errors: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for line in log.read_text().splitlines():
        record = json.loads(line)
        step = float(record.pop("step"))
        for name, value in record.items():
            if name in LOSSES:
                losses[name].append((step, value))
            elif isinstance(value, dict):
                for error in ERRORS:
                    errors[error][name].append((step, value[error]))
    charts = [chart({name: losses[name]}, name, "loss") for name in LOSSES if name in losses]
    charts += [chart(lines, f"{error}, averaged weights", error) for error, lines in errors.items()]
    with written_whole(page) as partial:
        partial.write_text(
            "<!doctype html><meta charset='utf-8'><title>Curves</title>" + "\n".join(charts) + "\n"
        )


def chart(lines: Mapping[str, Points], title: str, label: str) -> str:
    """Lines over the steps as SVG; long ones are averaged over stretches."""
    thinned: Lines = {name: _thinned(points) for name, points in lines.items()}
    return line_chart(thinned, title, "step", label)


def _thinned(points: Points) -> Points:
    """Means over stretches of a long line, at their last step."""
    size = -(-len(points) // MOST_POINTS)
    stretches = [points[start : start + size] for start in range(0, len(points), size)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in stretches]
