"""One self-contained HTML file: tables, charts as SVG, pictures as embedded PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from endodav.evaluation.charts import bar_chart, line_chart
from endodav.evaluation.pictures import Pictures
from endodav.evaluation.report import (
    TITLES,
    ProtocolResult,
    Report,
    facts,
    header,
    metrics_of,
    notes,
    row,
)
from endodav.video.colormap import lookup_table

NARROWEST = 240  # pixels of a column over time
UNKNOWN = 96  # grey where the truth is unknown
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;display:block;overflow-x:auto}
th,td{padding:.25rem .7rem;border-bottom:1px solid #ddd;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
figure{display:inline-block;margin:.5rem .5rem .5rem 0}
figcaption{font-size:.85rem;color:#555}
.scale{display:flex;align-items:center;gap:.4rem}
.scale i{flex:1;height:.6rem;border-radius:.2rem}
img{display:block;image-rendering:auto;min-width:15rem;max-width:100%}
"""

Map = Float[np.ndarray, "height width"]
Picture = UInt8[np.ndarray, "height width 3"]


class Scale(NamedTuple):
    """Colours of numbers.

    Attributes:
        low: value of the first colour.
        high: of the last one.
        colours: name of the colour map.
        unit: printed behind the numbers.
    """

    low: float
    high: float
    colours: str
    unit: str

    def paint(self, values: Map) -> Picture:
        """Values as colours, grey where they are NaN."""
        known = np.isfinite(values)
        share = (np.where(known, values, self.low) - self.low) / (self.high - self.low)
        indices = np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)
        return np.where(known[..., None], lookup_table(self.colours)[indices], np.uint8(UNKNOWN))

    def legend(self) -> str:
        """The scale in HTML."""
        stops = ",".join(f"rgb({r},{g},{b})" for r, g, b in lookup_table(self.colours)[::15])
        gradient = f'<i style="background:linear-gradient(to right,{stops})"></i>'
        return f'<span class="scale">{self.low:.3g}{gradient}{self.high:.3g}{self.unit}</span>'


RELATIVE_ERROR = Scale(0.0, 0.5, "magma", "")


def to_html(report: Report, pictures: Mapping[str, Pictures]) -> str:
    """The report as one page.

    Args:
        report: the numbers.
        pictures: by sequence, aligned by the first protocol; may be empty.
    """
    metrics = metrics_of(report)
    rows = [row(result, metrics) for result in report.results]
    parts = [
        f"<h1>{escape(report.title)}</h1>",
        bullets(facts(report)),
        html_table(header(metrics), rows),
        bullets(notes(report)),
        "<h2>Per sequence</h2>",
        _bars(report.results),
        *_drift(report.results),
    ]
    for name, shown in pictures.items():
        parts += _pictures(name, shown, report.results[0].protocol)
    return page(report.title, parts)


def page(title: str, parts: Iterable[str]) -> str:
    """A page that needs nothing else, of parts in HTML."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )


def _bars(results: Sequence[ProtocolResult]) -> str:
    """Abs Rel of every sequence under every protocol."""
    groups: dict[str, dict[str, float]] = {}
    for result in results:
        for sequence in result.sequences:
            group = groups.setdefault(sequence.name, {})
            if "abs_rel" in sequence.metrics:  # else the protocol found no fit
                group[result.protocol] = sequence.metrics["abs_rel"]
    only = f" ({results[0].protocol})" if len(results) == 1 else ""
    return bar_chart(groups, f"{TITLES['abs_rel'].text} by sequence{only}", TITLES["abs_rel"].text)


def _drift(results: Sequence[ProtocolResult]) -> Iterator[str]:
    """Mean over sequences for each length that all of them have."""
    lines = {}
    for result in results:
        lengths = sorted(set.intersection(*(set(s.drift) for s in result.sequences)))
        if lengths:
            lines[result.protocol] = [
                (length, float(np.mean([s.drift[length] for s in result.sequences])))
                for length in lengths
            ]
    yield "<h2>Drift</h2>"
    if lines:
        yield line_chart(lines, "Abs Rel of the first frames", "frames", "Abs Rel")
    else:
        yield "<p>The sequences are shorter than the 110 frames at which the curve begins.</p>"


def _pictures(name: str, shown: Pictures, protocol: str) -> Iterator[str]:
    worst = shown.worst
    known = np.isfinite(worst.truth)
    error = np.where(known, np.abs(worst.depth / np.where(known, worst.truth, 1) - 1), np.nan)
    near, over_time = _depth_scale(worst.truth), _depth_scale(shown.truth)
    yield f"<h2>{escape(name)}</h2>"
    yield line_chart({name: shown.errors}, f"{protocol}: error over time", "frame", "Abs Rel")
    yield f"<h3>Worst frame: {worst.index}, Abs Rel {worst.abs_rel:.3f}</h3>"
    yield figure(worst.image, "colour")
    yield figure(near.paint(worst.depth), "depth", near)
    yield figure(near.paint(worst.truth), "truth, grey where unknown", near)
    yield figure(RELATIVE_ERROR.paint(error), "relative error", RELATIVE_ERROR)
    yield "<h3>Middle column over time, left to right</h3>"
    wide = -(-NARROWEST // len(shown.errors))  # so that a short video is not a thread
    for picture, caption, scale in (
        (shown.colour, "colour", None),
        (over_time.paint(shown.depth), "depth", over_time),
        (over_time.paint(shown.truth), "truth, grey where unknown", over_time),
    ):
        yield figure(picture.repeat(wide, axis=1), caption, scale)


def _depth_scale(truth: Map) -> Scale:
    """From the nearest to the farthest truth but for some outliers."""
    low, high = (float(bound) for bound in np.nanpercentile(truth, (1, 99)))
    return Scale(low, max(high, low + 1e-3), "inferno", " mm")


def figure(picture: Picture, caption: str, scale: Scale | None = None) -> str:
    """A picture inside the page, with what it shows and what its colours mean."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}{'' if scale is None else scale.legend()}</figcaption>"
        "</figure>"
    )


def bullets(lines: Iterable[str]) -> str:
    """Lines as a list; nothing where there are none."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def html_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of text under their titles."""
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>" for cells in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
