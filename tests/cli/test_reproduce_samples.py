"""`endodav reproduce` end to end on tiny SCARED and Hamlyn, as published."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.data import samples

TINY = ("--input-size", 28, "--quiet")


@pytest.fixture
def data(tmp_path: Path) -> dict[str, str]:
    """Two sequences of either, as arguments."""
    samples.make("scared", tmp_path / "scared")
    shutil.copytree(tmp_path / "scared" / "dataset1", tmp_path / "scared" / "dataset8")
    samples.make("hamlyn", tmp_path / "hamlyn")
    return {name: f"{name}={tmp_path / name}" for name in ("scared", "hamlyn")}


def table(tmp_path: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / "reproduced" / f"{name}.json").read_text())
    return found


def test_table1_runs_on_scared_and_hamlyn(
    endodav: Callable[..., Any], data: dict[str, str], tmp_path: Path
) -> None:
    both = [part for root in data.values() for part in ("--data", root)]
    rows = ("--model", "EndoDAV=endodav-tiny", "--model", "mine=endodav-tiny")
    done = endodav("reproduce", "table1", *both, *rows, *TINY)
    assert done.code == 0, done.err
    scared, hamlyn = (table(tmp_path, f"table1-{name}") for name in data)
    assert scared["videos"] == ["dataset1/keyframe1", "dataset8/keyframe1"]
    assert scared["rows"][0]["paper"]["tae"] == 0.39
    assert scared["rows"][0]["metrics"]["tae"]["mean"] > 0
    assert hamlyn["rows"][0]["paper"]["abs_rel"] == 0.212
    assert "tae" not in hamlyn["rows"][0]["metrics"]  # it has no poses
    assert "range 0.001 to 150 mm" in scared["protocol"]
    findings = " ".join(scared["findings"])
    for said in ("6 frames a row", "clips", "Weights: EndoDAV ", "is best"):
        assert said in findings


def test_table2_and_drift_run_on_scared(
    endodav: Callable[..., Any], data: dict[str, str], tmp_path: Path
) -> None:
    models = ("--with", "endodav-tiny", "--without", "endodav-tiny")
    done = endodav("reproduce", "table2", "--data", data["scared"], *models, *TINY)
    assert done.code == 0, done.err
    crossed = table(tmp_path, "table2-scared")
    assert [row["name"] for row in crossed["rows"]][-1] == "both"
    assert {"abs_rel", "tae"} == set(crossed["rows"][0]["metrics"])
    lengths = ("--length", 2, "--length", 3)
    done = endodav("reproduce", "drift", "--data", data["scared"], *lengths, *TINY)
    assert done.code == 0, done.err
    curve = table(tmp_path, "drift-scared")
    assert list(curve["rows"][0]["metrics"]) == ["2", "3"]
    assert any(finding.startswith("From 2 to 3 frames") for finding in curve["findings"])
