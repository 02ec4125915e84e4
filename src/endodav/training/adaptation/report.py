"""The story of a run on one page, as HTML that needs nothing else and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from endodav.evaluation.charts import Points
from endodav.evaluation.html import bullets, figure, html_table, page
from endodav.files import written_whole
from endodav.training.adaptation.diary import AFTER, BEFORE, LOG_FILE, PICTURES
from endodav.training.adaptation.measures import MEASURES
from endodav.training.adaptation.pictures import panels
from endodav.training.adaptation.run import Adaptation
from endodav.training.adaptation.schedule import trainable_table
from endodav.training.curves import chart

Curves = Mapping[str, Points]

CHARTS = "charts"
TITLES = {
    "photometric": "Photometric error after warping",
    "depth": "Disagreement of depths, as a share of depth",
    "loss": "All losses of the depth phase",
}
NOT_DRAWN = ("step", "seconds", "temporal", "rate", "skipped")


@dataclass(frozen=True)
class Section:
    """A part of the page: any of these, in this order.

    Attributes:
        title: of the part.
        facts: a line each.
        table: rows of text, the titles first.
        charts: SVG, by file name.
        pictures: files in the run folder, with what they show.
    """

    title: str
    facts: Sequence[str] = ()
    table: Sequence[Sequence[str]] = ()
    charts: Mapping[str, str] | None = None
    pictures: Sequence[tuple[Path, str]] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing but a title."""
        return not (self.facts or self.table or self.charts or self.pictures)


def write_report(folder: Path, run: Adaptation, step: int, metrics: Mapping[str, float]) -> None:
    """Write report.html and report.md, and charts beside them.

    Args:
        folder: of the run, with its log and pictures.
        run: with the weights that are delivered.
        step: that these come from.
        metrics: of these.
    """
    losses, measures = _curves(folder / LOG_FILE)
    sections = [
        Section("Run", facts=_facts(run, step)),
        Section("Held-out footage", table=_before_and_after(measures, step, metrics)),
        Section("Depth before and after", pictures=_strips(folder)),
        Section("Curves", charts=_charts(losses, measures)),
        Section("Parts of a step", pictures=_parts(folder, run, step)),
        Section("What trains", table=_trains(run)),
    ]
    shown = [part for part in sections if not part.is_empty]
    base = run.start.base
    title = run.recipe.name + (f", adapted from {base.preset.name}" if base else "")
    for section in shown:
        for name, svg in (section.charts or {}).items():
            _write(folder / CHARTS / f"{name}.svg", svg)
    html = [f"<h1>{escape(title)}</h1>", *map(_html, shown)]
    _write(folder / "report.html", page(title, html))
    markdown = [f"# {title}\n", *(_markdown(section, folder) for section in shown)]
    _write(folder / "report.md", "\n".join(markdown))


def _facts(run: Adaptation, step: int) -> list[str]:
    done = run.progress
    return [
        f"Delivered: step {step} of {done.step}"
        + (f", the best by '{run.recipe.watch.measure}'" if run.best.step else ", the last"),
        f"Time: {done.seconds / 3600:.2f} h of training on {run.engine.device.type}",
        f"Steps without a finite gradient, which moved nothing: {done.skipped}",
        f"ResNet encoders began {'at random' if run.start.imagenet is None else 'from ImageNet'}",
        f"Lessons of the camera network before the first step: {run.recipe.taught}",
    ]


def _curves(log: Path) -> tuple[Curves, Curves]:
    """Losses and measures over the steps."""
    losses: dict[str, list[tuple[float, float]]] = {}
    measures: dict[str, list[tuple[float, float]]] = {}
    for line in log.read_text().splitlines():
        record = json.loads(line)
        step = float(record["step"])
        for name, value in record.get("held_out", {}).items():
            measures.setdefault(name, []).append((step, value))
        for name, value in record.items():
            if name not in NOT_DRAWN and isinstance(value, float):
                losses.setdefault(name, []).append((step, value))
    return losses, measures


def _charts(losses: Curves, measures: Curves) -> dict[str, str]:
    lines = {f"held-out/{name}": measures[name] for name in MEASURES if name in measures}
    finite = {
        name: [(step, value) for step, value in line if np.isfinite(value)]
        for name, line in (lines | dict(losses)).items()
    }
    return {
        name.replace("/", "-"): chart({name: line}, name, name.partition("/")[2])
        for name, line in finite.items()
        if line
    }


def _before_and_after(measures: Curves, step: int, metrics: Mapping[str, float]) -> list[list[str]]:
    if not measures:
        return []
    rows = [
        [TITLES[name], f"{measures[name][0][1]:.4g}", f"{metrics[name]:.4g}"] for name in MEASURES
    ]
    return [["less is better", "before", f"after {step} steps"], *rows]


def _strips(folder: Path) -> list[tuple[Path, str]]:
    pictures = folder / PICTURES
    found = []
    for before in sorted(pictures.glob(f"{BEFORE}-*.png")):
        number = before.stem.partition("-")[2]
        found.append((before, f"clip {number}: frames, and inverse depth before"))
        found.append((pictures / f"{AFTER}-{number}.png", f"clip {number}: inverse depth after"))
    return found


def _parts(folder: Path, run: Adaptation, step: int) -> list[tuple[Path, str]]:
    return [(folder / PICTURES / f"{step:08d}.png", panels(run.start.networks))]


def _trains(run: Adaptation) -> list[list[str]]:
    rows = trainable_table(run.start.networks, run.recipe.depth, run.recipe.schedule)
    titles = ["part", "trains", "tensors", "scalars"]
    return [titles, *([r.part, r.trains, str(r.tensors), f"{r.scalars:,}"] for r in rows)]


def _html(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>", bullets(section.facts)]
    if section.table:
        parts.append(html_table(section.table[0], section.table[1:]))
    parts += (section.charts or {}).values()
    for path, caption in section.pictures:
        with Image.open(path) as image:
            parts.append(figure(np.asarray(image.convert("RGB")), caption))
    return "".join(parts)


def _markdown(section: Section, folder: Path) -> str:
    lines = [f"## {section.title}\n", *(f"- {fact}" for fact in section.facts)]
    for number, row in enumerate(section.table):
        lines.append(f"| {' | '.join(row)} |")
        if number == 0:
            lines.append("|---" * len(row) + "|")
    lines += [f"![{name}]({CHARTS}/{name}.svg)" for name in section.charts or {}]
    lines += [
        f"{caption}\n\n![{caption}]({path.relative_to(folder).as_posix()})\n"
        for path, caption in section.pictures
    ]
    return "\n".join([*lines, ""])


def _write(path: Path, text: str) -> None:
    with written_whole(path) as partial:
        partial.write_text(text)
