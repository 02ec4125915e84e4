"""Curves drawn from a log."""

import json
import re
from pathlib import Path

from endodav.training.curves import MOST_POINTS, write_curves


def drawn(tmp_path: Path, records: list[dict[str, object]]) -> str:
    log, page = tmp_path / "log.jsonl", tmp_path / "curves.html"
    log.write_text("".join(json.dumps(record) + "\n" for record in records))
    write_curves(log, page)
    return page.read_text()


def test_losses_and_errors_get_a_chart_each(tmp_path: Path) -> None:
    errors = {"abs_rel": 0.2, "delta1": 0.7, "spearman": 0.9}
    page = drawn(
        tmp_path,
        [{"step": 1, "loss": 2.0, "rate": 0.1}, {"step": 2, "held_out": errors, "real": errors}],
    )
    assert page.count("<svg") == 1 + 3
    assert "held_out" in page
    assert "rate" not in page


def test_a_long_line_is_thinned_and_keeps_its_mean(tmp_path: Path) -> None:
    page = drawn(tmp_path, [{"step": k, "loss": float(k % 2)} for k in range(10 * MOST_POINTS)])
    (line,) = re.findall(r'<polyline points="([^"]*)"', page)
    heights = {point.split(",")[1] for point in line.split()}
    assert len(line.split()) == MOST_POINTS
    assert len(heights) == 1
