"""Charts as SVG text: lines and bars with axes, nothing else. No library, so HTML stands alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 640, 280
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 36, 44
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe-Ito
GRID = "#d8d8d8"
TICKS = 5
FEW = 30  # points of a line that are marked
LETTER, LINE = 6.6, 17.0  # pixels that a letter is wide and a row of the legend is high
VALUE_ROOM = 26.0  # pixels of a bar under which its value is not printed

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class _Plot:
    """From values to places in the picture.

    Attributes:
        first: value at the left end.
        last: at the right end.
        highest: at the upper end; the lower one is 0.
        upper: y of the upper end.
    """

    first: float
    last: float
    highest: float
    upper: float

    def x(self, value: float) -> float:
        """Place of a value along the axis below."""
        return LEFT + (value - self.first) / (self.last - self.first) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Place of a value along the axis to the left."""
        return HEIGHT - BOTTOM - value / self.highest * (HEIGHT - BOTTOM - self.upper)


def line_chart(lines: Mapping[str, Points], title: str, x_label: str, y_label: str) -> str:
    """Lines from zero upwards, with a legend where there are several."""
    points = [point for line in lines.values() for point in line]
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    legend, upper = _legend(lines)
    highest = _ceiling(max(y for _, y in points))
    plot = _Plot(first, last if last > first else first + 1, highest, upper)
    parts = [_axes(plot, title, x_label, y_label), legend]
    parts += [
        _text(plot.x(x), HEIGHT - BOTTOM + 16, f"{x:g}", "middle")
        for x in _ticks(plot, sorted({x for x, _ in points}))
    ]
    for number, line in enumerate(lines.values()):
        colour = COLOURS[number % len(COLOURS)]
        places = [(plot.x(x), plot.y(y)) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(line) < FEW:
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places
            ]
    return _svg(parts)


def bar_chart(groups: Mapping[str, Mapping[str, float]], title: str, y_label: str) -> str:
    """Bars from zero upwards in groups, the same colour for the same name in each."""
    names = list(dict.fromkeys(name for bars in groups.values() for name in bars))
    legend, upper = _legend(names)
    highest = _ceiling(max(value for bars in groups.values() for value in bars.values()))
    plot = _Plot(0, len(groups), highest, upper)
    parts = [_axes(plot, title, "", y_label), legend]
    width = min(0.8 * (plot.x(1) - plot.x(0)) / len(names), 90.0)
    for place, (group, bars) in enumerate(groups.items()):
        middle = plot.x(place + 0.5)
        letters = int((plot.x(1) - plot.x(0)) / LETTER) - 1
        shown = group if len(group) <= letters else f"…{group[len(group) - letters + 1 :]}"
        if letters >= 6:
            parts.append(_text(middle, HEIGHT - BOTTOM + 16, shown, "middle"))
        for number, name in enumerate(names):
            if name in bars:
                left = middle + (number - len(names) / 2) * width
                colour = COLOURS[number % len(COLOURS)]
                parts += _bar(plot, left, width, bars[name], f"{group}, {name}", colour)
    return _svg(parts)


def _bar(
    plot: _Plot, left: float, width: float, value: float, name: str, colour: str
) -> Iterator[str]:
    top = plot.y(value)
    yield (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{0.92 * width:.1f}" '
        f'height="{HEIGHT - BOTTOM - top:.1f}" fill="{colour}">'
        f"<title>{escape(name)}: {value:.4g}</title></rect>"
    )
    if width >= VALUE_ROOM:
        yield _text(left + 0.46 * width, top - 4, f"{value:.3g}", "middle")


def _legend(names: Iterable[str]) -> tuple[str, float]:
    """Names beside their colours in as many rows as they need, and where the plot may begin.

    A single name is said by the title.
    """
    parts, x, y = [], float(LEFT), float(TOP)
    for number, name in enumerate(names):
        room = 34 + LETTER * len(name)
        if x > LEFT and x + room > WIDTH - RIGHT:
            x, y = float(LEFT), y + LINE
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<rect x="{x:.0f}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(x + 15, y, name, "start"))
        x += room
    return ("", TOP) if len(parts) <= 2 else ("".join(parts), y + LINE)


def _ticks(plot: _Plot, values: Sequence[float]) -> list[float]:
    """The values themselves where they are few and apart, else multiples of a round step."""
    apart = (plot.last - plot.first) / (2 * TICKS)
    if len(values) <= 2 * TICKS and all(b - a > apart for a, b in pairwise(values)):
        return list(values)
    step = _ceiling((plot.last - plot.first) / (TICKS + 1), (1, 2, 5, 10))
    numbers = range(math.ceil(plot.first / step), math.floor(plot.last / step) + 1)
    return [step * number for number in numbers]


def _axes(plot: _Plot, title: str, x_label: str, y_label: str) -> str:
    parts = [_text(LEFT, 16, title, "start", "600")]
    for step in range(TICKS):
        value = plot.highest * step / (TICKS - 1)
        y = plot.y(value)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>'
        )
        parts.append(_text(LEFT - 6, y + 4, f"{value:.3g}", "end"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_label, "middle"))
    middle = (plot.upper + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text transform="translate(14 {middle:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>"
    )
    return "".join(parts)


def _ceiling(value: float, steps: Sequence[int] = (1, 2, 4, 6, 8, 10)) -> float:
    """The next of some steps times a power of ten; 1 for nothing."""
    if not value > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in steps if step * power >= value * 0.999)


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
