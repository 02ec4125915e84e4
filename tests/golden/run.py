"""Run one golden item with our code."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from tests.golden.case import Item, Runner
from tests.golden.compare import Comparison, compare
from tests.golden.outside import judged
from tests.golden.seeded import FINGERPRINT, fingerprint


def check_item(item: Item, runner: Runner) -> Iterator[Comparison]:
    """Run every case of `item` on the CPU in float32 and compare what comes out.

    Raises:
        RuntimeError: this machine does not rebuild the fixtures' weights and inputs.
    """
    if fingerprint() != FINGERPRINT:
        raise RuntimeError(f"seeded inputs differ from the fixtures': {fingerprint()}")
    for case in item.cases:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            results = runner(case)
        yield from map(judged, compare(case, results))
