"""Which function of ours answers which golden item."""

from __future__ import annotations

from collections.abc import Mapping

from tests.golden.case import Runner
from tests.golden.items import inference, networks, vda_losses

RUNNERS: Mapping[str, Runner] = networks.ITEMS | inference.ITEMS | vda_losses.ITEMS

# Items of parts that later issues build; each issue moves its own to the runners.
NOT_YET = frozenset(
    {
        "08_vda_evaluation",
        "12_pose_flow_networks",
        "13_geometry_losses",
        "14_endodav_training_losses",
        "14b_endoufm_losses",
        "15_endodav_evaluation",
    }
)
