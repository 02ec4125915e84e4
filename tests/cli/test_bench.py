"""`endodav bench` without the minutes: what it asks, writes, prints and exits with."""

from __future__ import annotations

import json

import pytest

from endodav.bench.measure import Config, Row
from endodav.bench.timing import Spread
from endodav.cli import bench


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """What would have been measured; every row takes 10 ms a frame."""
    configs: list[Config] = []

    def measured(config: Config) -> Row:
        configs.append(config)
        return Row(
            config.model, config.backend, config.compile, config.precision, (224, 280),
            Spread(10.0, 0.1, 5), 1.0, 50.0, None, 900.0, None, 2.0, 200.0,
        )  # fmt: skip

    monkeypatch.setattr(bench, "_alone", measured)
    return configs


@pytest.fixture(autouse=True)
def known_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "matrix_rates", lambda _: {"fp32": 400.0})


def test_every_combination_is_measured_and_stored(endodav, tmp_path, asked):
    done = endodav(
        "bench", "--model", "endodav-tiny", "--precision", "fp32,bf16", "--size", "280x224,70x56",
        "--json", "run.json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert [(config.precision, config.size) for config in asked] == [
        ("fp32", (280, 224)), ("fp32", (70, 56)), ("bf16", (280, 224)), ("bf16", (70, 56)),
    ]  # fmt: skip
    stored = json.loads((tmp_path / "run.json").read_text())
    assert [row["share_of_matrix_rate"] for row in stored["rows"]] == [0.5, 0.5, None, None]
    assert "224x280" in done.out
    assert "50%" in done.out


def test_a_regression_is_told_and_has_its_exit_code(endodav, tmp_path, asked):
    assert endodav("bench", "--precision", "fp32", "--json", "a.json", "--quiet").code == 0
    same = endodav("bench", "--precision", "fp32", "--against", "a.json", "--quiet")
    assert (same.code, same.err) == (0, "")
    stored = json.loads((tmp_path / "a.json").read_text())
    stored["rows"][0]["ms_a_frame"]["median"] = 5.0
    (tmp_path / "a.json").write_text(json.dumps(stored))
    worse = endodav("bench", "--precision", "fp32", "--against", "a.json", "--quiet")
    assert worse.code == 8
    assert "10 ms a frame, +100% on the stored 5." in worse.err
    allowed = endodav(
        "bench", "--precision", "fp32", "--against", "a.json", "--tolerance", 1, "--quiet"
    )
    assert allowed.code == 0


def test_what_is_wrong_is_told_before_anything_is_measured(endodav, asked):
    assert endodav("bench", "--against", "missing.json").code == 3
    done = endodav("bench", "--size", "big")
    assert (done.code, asked) == (6, [])
    assert "WIDTHxHEIGHT" in done.err


def test_it_is_measured_in_a_process_of_its_own(endodav):
    """A mistake in the other process is one sentence here, before any frame has been computed."""
    done = endodav("bench", "--model", "no-such-model", "--quiet", "--size", "42x28")
    assert done.code == 4
    assert "no-such-model" in done.err
