"""Tables: intervals, what is said of them, and how they are written."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from endodav.errors import OutputError
from endodav.evaluation.reproduction import (
    Published,
    Row,
    Table,
    bootstrap,
    write_table,
)

VIDEOS = 12
RNG = np.random.default_rng(1)
HARDNESS = RNG.uniform(0.1, 0.4, VIDEOS)  # of videos; far larger than what sets rows apart


def row(name: str, offset: float, runs: int = 1) -> Row:
    """Errors that follow the videos, shifted by an offset and a little noise."""
    noise = 1e-3 * np.random.default_rng(len(name)).standard_normal((runs, VIDEOS))
    errors = HARDNESS + offset + noise
    return Row(name, {"abs_rel": errors, "delta1": 1 - errors})


def table(published: Published, **changes: object) -> Table:
    rows = [row("plain", 0.0), row("better", -0.02, runs=3), row("alike!", 1e-5)]
    options = {"baseline": "plain"} | changes
    return Table(
        "A title", "A protocol", [f"v{k}" for k in range(VIDEOS)], rows, published, **options
    )


def test_an_interval_of_a_mean_has_the_width_that_theory_gives() -> None:
    values = np.random.default_rng(0).standard_normal((1, 400))
    interval = bootstrap(values)
    expected = 1.96 * values.std() / math.sqrt(400)
    assert interval.mean == pytest.approx(values.mean())
    assert (interval.high - interval.low) / 2 == pytest.approx(expected, rel=0.05)


def test_runs_that_differ_widen_the_interval_however_many_videos_there_are() -> None:
    seeds = np.array([[0.0], [1.0], [2.0]])
    interval = bootstrap(np.repeat(seeds, 500, axis=1))
    assert interval.low <= 0.34
    assert interval.high >= 1.66


def test_one_video_has_a_mean_and_no_interval() -> None:
    interval = bootstrap(np.ones((3, 1)))
    assert interval.mean == 1.0
    assert math.isnan(interval.low)
    assert not interval.significant


def test_a_paired_difference_is_found_below_the_scatter_of_videos() -> None:
    made = table(Published("nobody"))
    assert made.difference("better", "plain", "abs_rel").significant
    assert made.difference("better", "plain", "abs_rel").mean == pytest.approx(-0.02, abs=1e-3)
    assert not made.difference("alike!", "plain", "abs_rel").significant
    assert made.ranked("abs_rel")[0] == made.ranked("delta1")[0] == "better"


@pytest.mark.parametrize(
    ("figures", "verdict", "counts"),
    [
        ({"better": 0.1, "plain": 0.2}, "agrees", "1 hold here, 0 are within the interval"),
        ({"plain": 0.1, "better": 0.2}, "disagrees", "1 are reversed (better before plain)"),
        ({"plain": 0.1, "alike!": 0.2}, "is not decided", "1 are within the interval"),
        ({"plain": 0.1, "unknown": 0.2}, None, None),
        ({"plain": 0.1, "better": 0.1}, None, None),
    ],
)
def test_the_papers_order_is_judged_by_significance(
    figures: dict[str, float], verdict: str | None, counts: str | None
) -> None:
    paper = Published("a paper", {name: {"abs_rel": value} for name, value in figures.items()})
    about = [sentence for sentence in table(paper).findings() if "a paper" in sentence]
    if verdict is None or counts is None:
        assert about == []
    else:
        assert len(about) == 1
        assert about[0].startswith(f"Abs Rel {verdict}")
        assert counts in about[0]


def test_where_only_the_papers_choice_is_known_it_stands_against_its_rivals() -> None:
    paper = Published("a paper", chosen="better", rivals=("plain", "alike!", "not here"))
    about = table(paper).findings()
    assert any(s.startswith("Abs Rel agrees: of the 2 orders with better ahead") for s in about)
    assert any(s.startswith("delta1 agrees") and "2 hold here" in s for s in about)


def test_a_table_is_written_whole_and_can_be_read_back(tmp_path: Path) -> None:
    paper = Published("a paper", {"better": {"abs_rel": 0.125}})
    json_path, markdown_path = write_table(table(paper), tmp_path / "new" / "name")
    stored = json.loads(json_path.read_text())
    better = next(one for one in stored["rows"] if one["name"] == "better")
    assert better["paper"] == {"abs_rel": 0.125}
    assert better["metrics"]["abs_rel"]["difference"]["significant"] is True
    assert np.shape(better["metrics"]["abs_rel"]["values"]) == (3, VIDEOS)
    text = markdown_path.read_text()
    assert "| Abs Rel (paper) |" in text
    assert "0.125" in text
    assert text.count("\n| ") == 2 + len(stored["rows"])
    assert sorted(path.name for path in json_path.parent.iterdir()) == ["name.json", "name.md"]


def test_metrics_that_a_row_lacks_are_not_printed() -> None:
    without = Row("without", {"abs_rel": row("x", 0.0).scores["abs_rel"]})
    made = Table("t", "p", ["v"] * VIDEOS, [row("plain", 0.0), without], Published("nobody"))
    assert made.metrics == ["abs_rel"]
    assert len(made.header()) == len(next(made.cells())) == 2


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        write_table(table(Published("nobody")), tmp_path / "file" / "name")
