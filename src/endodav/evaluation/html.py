"""One self-contained HTML file: tables, charts as SVG, pictures as embedded PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

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

DEPTH_COLOURS, ERROR_COLOURS = "inferno", "magma"
LARGEST_ERROR = 0.5  # of relative error, the brightest colour
NARROWEST = 240  # pixels of a column over time
UNKNOWN = 96  # grey where the truth is unknown
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;display:block;overflow-x:auto}
th,td{padding:.25rem .7rem;border-bottom:1px solid #ddd;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
figure{display:inline-block;margin:.5rem .5rem .5rem 0}
figcaption{font-size:.85rem;color:#555}
img{display:block;image-rendering:auto;min-width:15rem;max-width:100%}
"""

Map = Float[np.ndarray, "height width"]
Picture = UInt8[np.ndarray, "height width 3"]


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
        _list(facts(report)),
        _table(header(metrics), rows),
        _list(notes(report)),
        "<h2>Per sequence</h2>",
        *(_bars(result) for result in report.results),
        *_drift(report.results),
    ]
    for name, shown in pictures.items():
        parts += _pictures(name, shown, report.results[0].protocol)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{escape(report.title)}</title><style>{STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )


def _bars(result: ProtocolResult) -> str:
    bars = {sequence.name: sequence.metrics["abs_rel"] for sequence in result.sequences}
    return bar_chart(bars, f"{result.protocol}: {TITLES['abs_rel'].text}", TITLES["abs_rel"].text)


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
    span = _span(worst.truth)
    profile = _span(shown.truth)
    yield f"<h2>{escape(name)}</h2>"
    yield line_chart({name: shown.errors}, f"{protocol}: error over time", "frame", "Abs Rel")
    yield f"<h3>Worst frame: {worst.index}, Abs Rel {worst.abs_rel:.3f}</h3>"
    yield _figure(worst.image, "colour")
    yield _figure(_paint(worst.depth, *span, DEPTH_COLOURS), f"depth, {_in_mm(span)}")
    yield _figure(_paint(worst.truth, *span, DEPTH_COLOURS), "truth, grey where unknown")
    yield _figure(
        _paint(error, 0, LARGEST_ERROR, ERROR_COLOURS), f"relative error, 0 to {LARGEST_ERROR}"
    )
    yield "<h3>Middle column over time, left to right</h3>"
    wide = -(-NARROWEST // len(shown.errors))  # so that a short video is not a thread
    for picture, caption in (
        (shown.colour, "colour"),
        (_paint(shown.depth, *profile, DEPTH_COLOURS), f"depth, {_in_mm(profile)}"),
        (_paint(shown.truth, *profile, DEPTH_COLOURS), "truth, grey where unknown"),
    ):
        yield _figure(picture.repeat(wide, axis=1), caption)


def _span(truth: Map) -> tuple[float, float]:
    low, high = np.nanpercentile(truth, (1, 99))
    return float(low), float(max(high, low + 1e-3))


def _in_mm(span: tuple[float, float]) -> str:
    return f"{span[0]:.0f} (dark) to {span[1]:.0f} mm"


def _paint(values: Map, low: float, high: float, colours: str) -> Picture:
    known = np.isfinite(values)
    share = np.clip((np.where(known, values, low) - low) / (high - low), 0, 1)
    painted = lookup_table(colours)[np.rint(255 * share).astype(np.uint8)]
    return np.where(known[..., None], painted, np.uint8(UNKNOWN))


def _figure(picture: Picture, caption: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _list(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>" for cells in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
