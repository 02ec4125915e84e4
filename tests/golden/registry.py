"""Which function of ours answers which golden item."""

from __future__ import annotations

from collections.abc import Mapping

from tests.golden.case import Runner
from tests.golden.items import (
    adaptation,
    evaluation,
    inference,
    networks,
    self_supervised,
    vda_losses,
)

RUNNERS: Mapping[str, Runner] = (
    networks.ITEMS
    | inference.ITEMS
    | vda_losses.ITEMS
    | self_supervised.ITEMS
    | adaptation.ITEMS
    | evaluation.ITEMS
)
