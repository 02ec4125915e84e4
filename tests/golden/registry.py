"""Which function of ours answers which golden item."""

from __future__ import annotations

from collections.abc import Mapping

from tests.golden.case import Runner
from tests.golden.items import evaluation, inference, networks, self_supervised, vda_losses

RUNNERS: Mapping[str, Runner] = (
    networks.ITEMS | inference.ITEMS | vda_losses.ITEMS | self_supervised.ITEMS | evaluation.ITEMS
)

# Items of parts that later issues build; each issue moves its own to the runners.
NOT_YET = frozenset(
    {
        "14_endodav_training_losses",
        "14b_endoufm_losses",
    }
)
