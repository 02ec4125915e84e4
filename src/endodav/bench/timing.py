"""Times, told honestly: the middle, the spread, and of how many."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """A few measurements of one thing.

    Attributes:
        median: of them.
        iqr: from the first quartile to the third.
        n: how many there are.
    """

    median: float
    iqr: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one measurement."""
        first, third = np.percentile(values, [25, 75])
        return cls(round(statistics.median(values), 4), round(float(third - first), 4), len(values))


@dataclass(frozen=True)
class Latency:
    """How long single frames took, in milliseconds.

    Attributes:
        p50: half of them at most this long.
        p95: 95 % of them.
        p99: 99 % of them.
        n: frames.
    """

    p50: float
    p95: float
    p99: float
    n: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """Of at least one frame."""
        p50, p95, p99 = (round(1000 * float(x), 3) for x in np.percentile(seconds, [50, 95, 99]))
        return cls(p50, p95, p99, len(seconds))


def seconds_of(work: Callable[[], object]) -> float:
    """How long it takes, by the clock."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def in_turns(parts: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each part in every round.

    The parts take turns, so that what slows the machine down for a while meets them all and ratios
    of medians hold. A first round warms up and is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for turn in range(1 + rounds):
        for name, part in parts.items():
            taken = seconds_of(part)
            if turn:
                seconds[name].append(taken)
    return seconds
