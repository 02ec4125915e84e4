"""Charts: what is drawn lies where its value says, and nothing lies on anything else."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from endodav.evaluation.charts import BOTTOM, HEIGHT, LEFT, RIGHT, WIDTH, bar_chart, line_chart

NAMES = ("endodav", "endodac", "video-median", "vda", "per-frame-lstsq", "first-frame", "metric")
SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> dict[str, tuple[float, float]]:
    """Where each text begins, or its middle."""
    found = ElementTree.fromstring(svg).iter(f"{SVG}text")
    return {str(t.text): (float(t.get("x", 0)), float(t.get("y", 0))) for t in found}


def test_lines_end_at_the_corners_of_the_plot() -> None:
    svg = line_chart({"one": [(110, 0.0), (500, 0.4)]}, "title", "frames", "Abs Rel")
    places = [tuple(map(float, p.split(","))) for p in re.search('points="(.*?)"', svg)[1].split()]
    assert places[0] == (LEFT, HEIGHT - BOTTOM)
    assert places[1] == (WIDTH - RIGHT, texts(svg)["0.4"][1] - 4)


def test_lengths_of_a_drift_curve_are_its_ticks() -> None:
    lengths = (110, 192, 300, 400, 500)
    svg = line_chart({"one": [(n, 0.1) for n in lengths]}, "title", "frames", "Abs Rel")
    assert {str(n) for n in lengths} <= texts(svg).keys()


def test_ticks_of_many_frames_are_round() -> None:
    svg = line_chart({"one": [(n, 0.1) for n in range(120)]}, "title", "frame", "Abs Rel")
    assert {"0", "20", "40", "60", "80", "100"} <= texts(svg).keys()
    assert "119" not in texts(svg)


@pytest.mark.parametrize("bars", [True, False])
def test_names_in_a_legend_do_not_overlap(bars: bool) -> None:
    if bars:
        svg = bar_chart({"v": dict.fromkeys(NAMES, 0.2)}, "title", "Abs Rel")
    else:
        svg = line_chart({n: [(0, 0.1), (1, 0.2)] for n in NAMES}, "title", "x", "y")
    found = texts(svg)
    ends: dict[float, float] = {}
    for name in NAMES:
        x, y = found[name]
        assert x >= ends.get(y, LEFT)
        ends[y] = x + 6 * len(name)
        assert ends[y] < WIDTH
    assert len(ends) == 2


def test_bars_are_as_high_as_their_values_in_groups_of_equal_colours() -> None:
    groups = {"v1": {"a": 0.1, "b": 0.2}, "a very long <name> indeed" * 4: {"a": 0.4, "b": 0.3}}
    root = ElementTree.fromstring(bar_chart(groups, "title", "Abs Rel"))
    bars = [one for one in root.iter(f"{SVG}rect") if one.find(f"{SVG}title") is not None]
    heights = [float(bar.get("height", 0)) for bar in bars]
    assert [h / heights[2] for h in heights] == pytest.approx([0.25, 0.5, 1, 0.75], abs=0.01)
    assert bars[0].get("fill") == bars[2].get("fill") != bars[1].get("fill")
    labels = [t.text for t in root.iter(f"{SVG}text") if t.text and t.text.startswith("…")]
    assert len(labels) == 1
    assert len(labels[0]) < 45
