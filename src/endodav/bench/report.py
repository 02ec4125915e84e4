"""A run of measurements as JSON, and the check against a stored one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from endodav.bench.machine import hardware, versions
from endodav.bench.measure import Row
from endodav.errors import InputError, OutputError

SAME_MACHINE = ("cpu", "cores", "threads", "gpu", "system")
KEY = ("model", "backend", "precision", "compile", "network_size")
CHECKED = {  # what must not grow: where it is in a row, and how it is said
    ("ms_a_frame", "median"): "ms a frame",
    ("streaming_ms", "p50"): "ms a streamed frame",
    ("peak_rss_mb",): "MB of memory",
}
RATE_OF = {"int8": "bf16"}  # precisions that are compared with the matrix rate of another

Report = Mapping[str, Any]


def make_report(rows: Sequence[Row], rates: Mapping[str, float], video: str) -> Report:
    """All of a run: machine, matrix rates, and each row with the share of them that it reached.

    Args:
        rows: the measurements.
        rates: GFLOP/s of matrix products by precision, measured in the same run.
        video: name of the file that was seen.
    """
    return {
        "hardware": hardware(),
        "versions": versions(),
        "video": video,
        "matrix_gflops": {name: round(rate, 1) for name, rate in rates.items()},
        "rows": [row.to_json() | {"share_of_matrix_rate": _share(row, rates)} for row in rows],
    }


def _share(row: Row, rates: Mapping[str, float]) -> float | None:
    rate = rates.get(RATE_OF.get(row.precision, row.precision))
    return None if rate is None else round(row.gflops / rate, 3)


def write_report(report: Report, path: Path) -> None:
    """Store a run.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        path.write_text(json.dumps(report, indent=2) + "\n")
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}); choose another --json."
        ) from error


def read_report(path: Path) -> Report:
    """A stored run.

    Raises:
        InputError: it is not there, or is none.
    """
    try:
        report: Report = json.loads(path.read_text())
        _ = [_key(row) for row in report["rows"]], report["hardware"]
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); give what an earlier `endodav bench "
            "--json` wrote."
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path} is no run of `endodav bench --json`; make one and compare with that."
        ) from error
    return report


def regressions(report: Report, stored: Report, tolerance: float) -> list[str]:
    """One sentence for each figure that is more than `tolerance` (0.15: 15 %) above the stored one.

    Rows that only one of the two has are not compared.

    Raises:
        InputError: the runs are of different machines, or have no row in common.
    """
    for part in SAME_MACHINE:
        here, there = report["hardware"].get(part), stored["hardware"].get(part)
        if here != there:
            raise InputError(
                f"The stored run is of another machine ({part}: {there}, here {here}); "
                "compare with one that was made here."
            )
    before = {_key(row): row for row in stored["rows"]}
    pairs = [(before[_key(row)], row) for row in report["rows"] if _key(row) in before]
    if not pairs:
        raise InputError(
            "The stored run has no model, backend, precision and size in common with this one; "
            "measure the same again."
        )
    return [sentence for old, new in pairs for sentence in _grown(old, new, tolerance)]


def _grown(old: Report, new: Report, tolerance: float) -> Iterator[str]:
    for place, name in CHECKED.items():
        was, now = _at(old, place), _at(new, place)
        if was is not None and now is not None and now > was * (1 + tolerance):
            label = " ".join(map(str, _key(new)[:3]))
            yield f"{label}: {now:g} {name}, {now / was - 1:+.0%} on the stored {was:g}."


def _at(row: Any, place: Sequence[str]) -> float | None:
    for name in place:
        row = None if row is None else row.get(name)
    return None if row is None else float(row)


def _key(row: Report) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in KEY)
