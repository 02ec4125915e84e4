"""Stored runs: what counts as worse, and what is no comparison."""

from __future__ import annotations

import json

import pytest

from endodav.bench.machine import hardware, matrix_rates, peak_memory_mb, versions
from endodav.bench.measure import Row
from endodav.bench.report import make_report, read_report, regressions, write_report
from endodav.bench.timing import Latency, Spread, in_turns
from endodav.errors import InputError, OutputError


def row(ms: float = 10.0, memory: float = 900.0, streaming: float | None = 20.0, **other) -> Row:
    latency = None if streaming is None else Latency(streaming, 25.0, 30.0, 100)
    values = {
        "model": "m", "backend": "torch", "compile": "none", "precision": "fp32",
        "network_size": (28, 42),
        "ms_a_frame": Spread(ms, 0.5, 5), "warm_up_seconds": 1.0, "frames_per_second": 50.0,
        "streaming_ms": latency, "peak_rss_mb": memory, "peak_vram_mb": None,
        "gflop_a_frame": 2.0, "gflops": 200.0,
    }  # fmt: skip
    return Row(**(values | other))


def report(*rows: Row):
    return make_report(rows, {"fp32": 400.0, "bf16": 800.0}, "clip.mp4")


def test_a_run_is_stored_and_read_back(tmp_path):
    path = tmp_path / "run.json"
    made = report(row(), row(precision="bf16"), row(precision="int8"), row(precision="fp16"))
    write_report(made, path)
    assert read_report(path) == made
    shares = [one["share_of_matrix_rate"] for one in made["rows"]]
    assert shares == [0.5, 0.25, 0.25, None]
    assert {"endodav", "torch", "numpy", "av", "python"} <= made["versions"].keys()


def test_only_what_grew_beyond_the_tolerance_is_worse():
    stored = report(row())
    assert regressions(report(row()), stored, 0.0) == []
    assert regressions(report(row(ms=5, memory=1, streaming=1)), stored, 0.0) == []
    assert regressions(report(row(ms=11.4, memory=1030)), stored, 0.15) == []
    (sentence,) = regressions(report(row(ms=11.6)), stored, 0.15)
    assert sentence == "m torch fp32: 11.6 ms a frame, +16% on the stored 10."
    worse = regressions(report(row(ms=20, memory=2000, streaming=40)), stored, 0.15)
    assert [word in line for word, line in zip(("ms a f", "stream", "MB"), worse, strict=True)]
    assert regressions(report(row(streaming=None)), stored, 0.0) == []
    assert regressions(report(row(ms=99, precision="bf16"), row()), stored, 0.0) == []


def test_what_is_no_comparison_is_refused():
    stored = report(row())
    with pytest.raises(InputError, match="no model, backend, precision and size in common"):
        regressions(report(row(model="other")), stored, 0.1)
    there = {**stored, "hardware": {**stored["hardware"], "cpu": "Z80"}}
    with pytest.raises(InputError, match=r"another machine.*Z80"):
        regressions(stored, there, 0.1)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": [{}], "hardware": {}}'])
def test_what_is_no_run(tmp_path, text):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(InputError, match="no run of `endodav bench"):
        read_report(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_report(tmp_path / "missing.json")
    with pytest.raises(OutputError, match="choose another --json"):
        write_report({}, tmp_path / "missing" / "run.json")


def test_spreads_and_latencies():
    assert Spread.of([1.0, 2.0, 3.0, 4.0, 100.0]) == Spread(3.0, 2.0, 5)
    assert Latency.of([k / 1000 for k in range(1, 102)]) == Latency(51.0, 96.0, 100.0, 101)


def test_parts_take_turns_and_the_first_round_does_not_count():
    order = []
    seconds = in_turns({name: lambda name=name: order.append(name) for name in "ab"}, rounds=2)
    assert order == ["a", "b"] * 3
    assert [len(taken) for taken in seconds.values()] == [2, 2]


def test_the_machine_describes_itself(monkeypatch):
    monkeypatch.setattr("endodav.bench.machine.CPU_MATRIX", 32)
    import torch

    rates = matrix_rates(torch.device("cpu"))
    assert rates.keys() == {"fp32", "bf16"}
    assert min(rates.values()) > 0
    assert 1 < peak_memory_mb() < 1e6
    json.dumps([hardware(), versions()])
