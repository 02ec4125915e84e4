"""Which function of ours answers which golden item."""

from __future__ import annotations

import importlib
import importlib.util

from .case import Runner

RUNNERS: dict[str, Runner] = {}
for _name in ("networks", "inference", "vda_losses"):
    if importlib.util.find_spec(f".items.{_name}", __package__):
        RUNNERS |= importlib.import_module(f".items.{_name}", __package__).ITEMS

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
