"""The page about performance says what the stored results say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import tables

    yield tables
    del sys.modules["tables"]


SPREAD = {"median": 10.04, "iqr": 0.5, "n": 5}
MADE_ON = {
    "hardware": {"gpu": None, "cpu": "Z80", "cores": 2, "threads": 2, "load_average": 0.5},
    "versions": {"torch": "2.15.0"},
}
WAY = {
    "ms_a_frame": SPREAD, "times_faster": 4.25, "target": 4.0, "relative_error": 0.00123,
    "finite": True, "peak_vram_mb": None,
}  # fmt: skip


def test_the_page_is_what_the_results_make_of_it(tables):
    assert tables.filled(tables.PAGE.read_text(), tables.RESULTS) == tables.PAGE.read_text()


def test_a_result_becomes_a_table_and_a_missing_one_a_command(tables, tmp_path):
    speed = {"frames": 250, "size": [224, 280], "video": "a.mp4", **MADE_ON}
    speed["models"] = {"vda": {"ways": {"openvino:bf16": WAY}}}
    (tmp_path / "speed.json").write_text(json.dumps(speed))
    page = "".join(f"<!-- {name} -->\nold\n<!-- /{name} -->\n" for name in tables.TABLES)
    made = tables.filled(page, tmp_path)
    row = "| vda | openvino bf16 | 10.0 (IQR 0.5, n 5) | 4.25x | 4x | 1.2e-03 |  |"
    assert row in made
    assert "Z80, 2 cores" in made
    assert "`python benchmarks/streaming.py`" in made
    assert "old" not in made
    assert tables.filled(made, tmp_path) == made
