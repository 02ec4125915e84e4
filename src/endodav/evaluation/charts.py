"""Charts as SVG text: lines and bars with axes, nothing else. No library, so HTML stands alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 28, 44
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe-Ito
GRID = "#d8d8d8"
TICKS = 5

Points = Sequence[tuple[float, float]]


def line_chart(lines: Mapping[str, Points], title: str, x_label: str, y_label: str) -> str:
    """Lines from zero upwards, with a legend where there are several."""
    points = [point for line in lines.values() for point in line]
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    last = last if last > first else first + 1
    top = _ceiling(max(y for _, y in points))
    parts = [_axes(title, x_label, y_label, top)]
    for x in np.unique(np.linspace(first, last, TICKS).round()):
        place = _x((x - first) / (last - first))
        parts.append(_text(place, HEIGHT - BOTTOM + 16, f"{x:g}", "middle"))
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(
            f"{_x((x - first) / (last - first)):.1f},{_y(y / top):.1f}" for x, y in line
        )
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(line) < 30:
            for pair in path.split():
                x_text, y_text = pair.split(",")
                parts.append(f'<circle cx="{x_text}" cy="{y_text}" r="3" fill="{colour}"/>')
        if len(lines) > 1:
            place = LEFT + 8 + 84 * number
            parts.append(
                f'<rect x="{place}" y="{TOP + 4}" width="10" height="10" fill="{colour}"/>'
            )
            parts.append(_text(place + 14, TOP + 13, name, "start"))
    return _svg(parts)


def bar_chart(bars: Mapping[str, float], title: str, y_label: str) -> str:
    """One bar a name, from zero upwards."""
    top = _ceiling(max(bars.values()))
    parts = [_axes(title, "", y_label, top)]
    room = (WIDTH - LEFT - RIGHT) / len(bars)
    for number, (name, value) in enumerate(bars.items()):
        left, width = LEFT + room * (number + 0.15), min(room * 0.7, 90)
        height = (HEIGHT - TOP - BOTTOM) * value / top
        parts.append(
            f'<rect x="{left:.1f}" y="{HEIGHT - BOTTOM - height:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}" fill="{COLOURS[0]}"><title>{escape(name)}: {value:.4g}</title>'
            "</rect>"
        )
        if len(bars) <= 12:
            shown = name if len(name) <= 14 else f"..{name[-12:]}"
            parts.append(_text(left + width / 2, HEIGHT - BOTTOM + 16, shown, "middle"))
            parts.append(
                _text(left + width / 2, HEIGHT - BOTTOM - height - 4, f"{value:.3g}", "middle")
            )
    return _svg(parts)


def _axes(title: str, x_label: str, y_label: str, top: float) -> str:
    parts = [_text(LEFT, 16, title, "start", "600")]
    for step in range(TICKS):
        share = step / (TICKS - 1)
        place = _y(share)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{place:.1f}" y2="{place:.1f}" '
            f'stroke="{GRID}"/>'
        )
        parts.append(_text(LEFT - 6, place + 4, f"{share * top:.3g}", "end"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_label, "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text transform="translate(14 {middle:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>"
    )
    return "".join(parts)


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _ceiling(value: float) -> float:
    """The next of 1, 2, 4, 6, 8 times a power of ten; 1 for nothing."""
    if not value > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value * 0.999)


def _text(x: float, y: float, text: str, anchor: str, weight: str = "400") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )


def _svg(parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="#222">{"".join(parts)}</svg>'
    )
