"""`endodav reproduce`: from folders and names to tables, and what it says to mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from endodav.data.dataset import Clip
from endodav.data.folder import FOLDER
from endodav.evaluation.reproduction import Published, Row, Table
from endodav.training.adaptation.recipe import AdaptRecipe

SMALL = ("--input-size", 28, "--quiet")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two videos of a wall that comes nearer, as `endodav render` lays them out."""
    assert FOLDER.write is not None
    for number in range(2):
        rng = np.random.default_rng(number)
        depth = 50 + np.linspace(0, 20, 36)[None, None] - np.arange(6)[:, None, None]
        depth = (depth * np.ones((1, 28, 1))).astype(np.float32)
        shade = 200 * depth.min() ** 2 / depth**2
        images = (shade[..., None] * rng.uniform(0.7, 1, (1, 28, 36, 3))).astype(np.uint8)
        poses = np.tile(np.eye(4), (6, 1, 1))
        poses[:, 2, 3] = np.arange(6)
        K = np.array([[30.0, 0, 18], [0, 30.0, 14], [0, 0, 1]])
        FOLDER.write(Clip(images, depth, poses, K), tmp_path / "data", number)
    return tmp_path / "data"


def names(table: Path) -> list[str]:
    stored: dict[str, Any] = json.loads(table.read_text())
    return [row["name"] for row in stored["rows"]]


def test_strategies_are_compared_printed_and_written(endodav, data: Path, tmp_path: Path) -> None:
    chosen = ("--setting", "vda/6", "--setting", "independent", "--setting", "frame-by-frame")
    done = endodav("reproduce", "vda-table5", "--data", data, "--input-size", 28, *chosen)
    assert (done.code, names(tmp_path / "reproduced" / "vda-table5.json")) == (
        0,
        ["vda/6", "independent/32", "frame-by-frame"],
    )
    assert "frame-by-frame" in done.out
    assert "TAE" in done.out
    assert (tmp_path / "reproduced" / "vda-table5.md").read_text().startswith("# Strategies")


def test_models_of_table1_have_the_rows_that_were_named(
    endodav, data: Path, tmp_path: Path
) -> None:
    models = ("--model", "EndoDAV=endodav-tiny", "--model", "endodav-tiny")
    done = endodav("reproduce", "table1", "--data", f"rendered={data}", *models, *SMALL)
    assert done.code == 0, done.err
    assert done.out == ""
    assert names(tmp_path / "reproduced" / "table1-rendered.json") == ["EndoDAV", "endodav-tiny"]


def test_table2_crosses_training_and_inference(endodav, data: Path, tmp_path: Path) -> None:
    models = ("--with", "endodav-tiny", "--without", "endodav-tiny")
    done = endodav("reproduce", "table2", "--data", f"rendered={data}", *models, *SMALL)
    assert done.code == 0, done.err
    expected = ["neither", "projection loss", "alignment", "both"]
    stored = json.loads((tmp_path / "reproduced" / "table2-rendered.json").read_text())
    assert [row["name"] for row in stored["rows"]] == expected
    assert stored["rows"][3]["paper"] == {"abs_rel": 0.156, "tae": 0.39}


def test_drift_and_benchmark_run_end_to_end(endodav, data: Path, tmp_path: Path) -> None:
    lengths = ("--length", 6, "--length", 3)
    done = endodav("reproduce", "drift", "--data", f"rendered={data}", *lengths, *SMALL)
    assert done.code == 0, done.err
    drift = json.loads((tmp_path / "reproduced" / "drift-rendered.json").read_text())
    assert list(drift["rows"][0]["metrics"]) == ["3", "6"]
    done = endodav("reproduce", "benchmark", "--data", data, "--only", "clip_001", *SMALL)
    assert done.code == 0, done.err
    stored = json.loads((tmp_path / "reproduced" / "benchmark.json").read_text())
    assert stored["videos"] == ["clip_001"]
    assert stored["rows"][0]["metrics"]["tae"]["low"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("vda-table5", "--data", "nowhere"), 3, "nowhere has no layout"),
        (("vda-table5", "--data", "data", "--setting", "magic"), 6, "no setting 'magic'"),
        (("vda-table5", "--data", "data", "--only", "x*"), 3, "matches 'x*'"),
        (("vda-table4", "--data", "data", "--variant", "magic"), 6, "no variant 'magic'"),
        (("vda-table4", "--data", "data", "--recipe", "vda-tiny"), 6, "which nothing trains here"),
        (("table1", "--data", "moon=data"), 3, "no dataset 'moon'"),
        (("benchmark", "--data", "data", "--model", "nothing"), 4, "no model"),
        (
            ("benchmark", "--data", "data", "--model", "endodav-tiny", "--model", "endodav-tiny"),
            6,
            "named alike",
        ),
        (("drift", "--data", "rendered=data"), 3, "the longest has 6"),
    ],
)
def test_a_mistake_is_answered_with_one_sentence(
    endodav, data: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = endodav("reproduce", *arguments, "--quiet")
    assert (done.code, said in done.err) == (code, True), done.err
    assert "Traceback" not in done.err


def test_an_adaptation_is_compared_with_what_it_began_with(
    endodav, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("endodav.training.adaptation.start.imagenet_file", lambda _: None)
    folder = tmp_path / "footage"
    folder.mkdir()
    wall = np.random.default_rng(0).integers(40, 220, (4, 6, 3)).astype(np.uint8)
    wall = wall.repeat(12, 0).repeat(12, 1)
    for k in range(12):
        Image.fromarray(wall[:, k : k + 60]).save(folder / f"{k:02d}.png")
    recipe = tmp_path / "small.yaml"
    recipe.write_text(
        "data: {size: [34, 34], targets: 2}\n"
        "depth: {image_shape: [32, 32]}\n"
        "schedule: {steps: 1}\n"
        "watch: {steps: 0, picture_steps: 0}\n"
    )
    adapted = endodav("adapt", folder, "--out", "run", "--recipe", recipe, "--quiet")
    assert adapted.code == 0, adapted.err
    done = endodav("reproduce", "consistency", "--run", "run", "--data", folder, "--clips", 2)
    assert done.code == 0, done.err
    assert "photometric" in done.out
    stored = tmp_path / "reproduced" / "consistency-run.json"
    assert names(stored) == ["base", "adapted"]
    assert len(list(stored.parent.glob("consistency-run-*.png"))) == 3
    wrong = endodav("reproduce", "consistency", "--run", "footage", "--data", folder)
    assert (wrong.code, "a folder that `endodav adapt` wrote" in wrong.err) == (6, True)


def test_the_ablation_writes_its_table(
    endodav, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def tables(recipe: AdaptRecipe, seeds: int, work: Path, report: object) -> dict[str, Table]:
        asked.extend((recipe.schedule.steps, seeds, work))
        row = Row("weakened", {"abs_rel": np.full((1, 2), 0.5)})
        return {"seen": Table("title", "protocol", ["a", "b"], [row], Published("no paper"))}

    monkeypatch.setattr("endodav.training.adaptation.study.study_tables", tables)
    done = endodav("reproduce", "ablation", "--steps", 7, "--seeds", 2)
    assert done.code == 0, done.err
    assert asked == [7, 2, Path("reproduced/work")]
    assert (tmp_path / "reproduced" / "ablation-seen.md").exists()
    wrong = endodav("reproduce", "ablation", "--recipe", "nothing")
    assert wrong.code == 6
