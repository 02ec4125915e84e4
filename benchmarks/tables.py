"""Fills the tables of docs/performance.md from benchmarks/results: no number is typed by hand.

python benchmarks/tables.py

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`; where its result is missing, it says
which command makes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "benchmarks" / "results"
PERCENTILES = ("p50", "p95", "p99")

Report = Mapping[str, Any]


def speed(report: Report) -> str:
    """Every way to run every architecture, against the naive reference."""
    rows = [
        (
            model,
            way.replace(":", " "),
            spread(one["ms_a_frame"]),
            f"{one['times_faster']:.2f}x",
            "" if one["target"] is None else f"{one['target']:g}x",
            f"{one['relative_error']:.1e}" if one["finite"] else "not finite",
            "" if one["peak_vram_mb"] is None else f"{one['peak_vram_mb']:.0f}",
        )
        for model, found in report["models"].items()
        for way, one in found["ways"].items()
    ]
    height, width = report["size"]
    said = f"{report['frames']} frames of {report['video']}, {height}x{width}. {machine(report)}"
    header = ("model", "run by", "ms a frame", "times faster", "target", "rel. error", "VRAM MB")
    return f"{said}\n\n{table(header, rows)}"


def streaming(report: Report) -> str:
    """Rate, latency and growth of a stream beside their limits."""
    limits, long, latency = report["limits"], report["long_stream"], report["latency_ms"]
    live = report["live_latency_ms"]
    rows = [
        (
            "frames/s, file to files",
            spread(report["frames_per_second"]),
            f"at least {limits['frames_per_second']:g}",
        ),
        ("latency p50, p95, p99, ms", percentiles(latency), ""),
        ("the same of a live frame, ms", percentiles(live), ""),
        (
            "p99 over the median",
            f"{latency['p99_over_median']:.2f}",
            f"at most {limits['p99_over_median']:g}",
        ),
        (
            f"memory growth over {long['frames']} frames, MB",
            f"{long['growth_mb']:.1f}",
            f"at most {limits['growth_mb']:g}",
        ),
    ]
    height, width = report["size"]
    said = (
        f"{report['model']}, {report['backend']} {report['precision']}, {height}x{width}, from "
        f"{report['video']}. {machine(report)}"
    )
    return f"{said}\n\n{table(('', 'found', 'wanted'), rows)}"


def percentiles(latency: Mapping[str, float]) -> str:
    """Latencies of a stream."""
    return ", ".join(f"{latency[p]:.1f}" for p in PERCENTILES)


def overhead(report: Report) -> str:
    """Stages by themselves and together."""
    rows = [(name, spread(one)) for name, one in report["ms_a_frame"].items()]
    found = {name: f"{share:.0%}" for name, share in report["shares"].items()}
    said = (
        f"{report['model']}, {report['precision']}, depth of {report['output_size']} size. "
        f"Everything but the network is {found['overhead']} of it (wanted: at most "
        f"{report['limits']['overhead']:.0%}). The network's thread waits for {found['waiting']} "
        f"of that, and for {found['waiting_on_one_thread']} where PyTorch leaves a core; by the "
        f"clock, {found['hidden']} and {found['hidden_on_one_thread']} are hidden. "
        f"{machine(report)}"
    )
    return f"{said}\n\n{table(('stage', 'ms a frame'), rows)}"


def limit(report: Report) -> str:
    """Memory and time with and without a limit."""
    rows = [
        (name, f"{run['peak_mb']:.0f}", f"{run['ms_a_frame']}")
        for name, run in report["runs"].items()
    ]
    said = (
        f"{report['model']}, fp32, {report['size']}, {report['frames']} frames, limit "
        f"{report['limit_mb']} MB. Largest difference of depth: "
        f"{report['largest_difference']:.1e} of the largest depth. {machine(report)}"
    )
    return f"{said}\n\n{table(('', 'peak MB', 'ms a frame'), rows)}"


TABLES: Mapping[str, tuple[str, Callable[[Report], str]]] = {
    "speed": ("speed.py", speed),
    "gpu": ("speed.py --device cuda --size 518x518 --out gpu.json", speed),
    "streaming": ("streaming.py", streaming),
    "overhead": ("overhead.py", overhead),
    "limit": ("limit.py", limit),
}


def machine(report: Report) -> str:
    """What it was measured on."""
    hardware = report["hardware"]
    gpu = "" if hardware["gpu"] is None else f"{hardware['gpu']}, "
    return (
        f"{gpu}{hardware['cpu']}, {hardware['cores']} cores, {hardware['threads']} threads, "
        f"torch {report['versions']['torch']}, load {hardware['load_average']:g} at the end."
    )


def spread(found: Report) -> str:
    """Median, interquartile range and number."""
    return f"{found['median']:.1f} (IQR {found['iqr']:.1f}, n {found['n']})"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def filled(page: str, results: Path) -> str:
    """The page with every table made anew."""
    for name, (command, draw) in TABLES.items():
        path = results / f"{name}.json"
        text = (
            draw(json.loads(path.read_text()))
            if path.exists()
            else f"Not measured yet: `python benchmarks/{command}`."
        )
        page, count = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda found, text=text: f"{found[1]}{text}\n{found[2]}",
            page,
            flags=re.DOTALL,
        )
        assert count == 1, f"the page has {count} places for {name}"
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(), RESULTS))
