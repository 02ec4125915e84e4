"""Which parameters the official trainers tune, expressed by the parameter lists of our networks.

The official trainers choose by parts of names and hand Adam what trains right after construction;
our lists say the same explicitly. The quirks pinned here are not what our own training does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from torch import nn

from endodav.models.adapters import adapted_layers, train_only
from endodav.models.depth import EndoDAC, EndoDAV, EndoUFM
from endodav.weights.keymaps import Family, to_official
from tests.golden.case import Case


def endodav(case: Case, model: EndoDAV) -> Mapping[str, Any]:
    """Item 09b: the schedule of EndoDAV's trainer at one step."""
    step, options = case.args["step"], case.args["options"]
    spatial_steps = options["tune_spatial_interval"]
    period = spatial_steps + options["tune_temporal_interval"]
    temporal = case.config.get("temporal_lora", False) and step % period >= spatial_steps
    warm_up = step < options["warm_up_step"]
    depth_interval = options["tune_depth_interval"]
    frozen = depth_interval > 0 and step % depth_interval != 0
    if frozen:
        chosen = []
    elif temporal:
        chosen = model.temporal_parameters(warm_up)
    else:
        chosen = model.spatial_parameters(warm_up)
    if options["train_output_conv"] and model.output.kind == "conv":
        chosen = [*chosen, *model.output_parameters()]
    results = {"tune_temporal": temporal, "total_count": _total(model)}
    results |= _described("trainable", model, chosen, "endodav")
    return results | _described(
        "at_construction", model, model.spatial_parameters(warm_up=True), "endodav"
    )


def image_network(case: Case, model: EndoDAC | EndoUFM, family: Family) -> Mapping[str, Any]:
    """Items 11a and 11b: EndoDAC's rule, or EndoUFM's own, which knows no warm-up."""
    if "warm_up" in case.args:  # by the factor's name, whether it is to train or not
        factors = ("A", "B") if case.args["warm_up"] else ("U", "V")
        chosen = [*_factors(model, factors), *model.added_parameters()]
    else:
        chosen = model.spatial_parameters()
    results = {"total_count": _total(model)} | _described("trainable", model, chosen, family)
    if family == "endodac":
        start = [*_factors(model, ("A", "B")), *model.added_parameters()]
        return results | _described("at_construction", model, start, family)
    adapted = sum(layer.weight.numel() for _, layer in adapted_layers(model))
    return results | {"at_construction_count": _total(model) - adapted}


def _factors(model: nn.Module, names: tuple[str, ...]) -> list[nn.Parameter]:
    adapters = [layer.adapter for _, layer in adapted_layers(model)]
    return [getattr(a, name) for a in adapters for name in names if hasattr(a, name)]


def _described(
    key: str, model: nn.Module, chosen: list[nn.Parameter], family: Family
) -> dict[str, Any]:
    """Official names, in the order of the network, and the number of scalars."""
    train_only(model, chosen)
    tuned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    names = list(to_official(tuned, family))
    return {
        key: names,
        f"{key}_count": sum(p.numel() for p in tuned.values()),
        f"{key}_sha256": hashlib.sha256("\n".join(names).encode()).hexdigest(),
    }


def _total(model: EndoDAV | EndoDAC | EndoUFM) -> int:
    """Scalars of the official network: ours, a token and a residual unit that nothing uses."""
    own = sum(p.numel() for p in model.parameters())
    token = model.encoder.class_token.numel()
    unit = sum(p.numel() for p in model.head.fuse[3].refine.parameters())
    return own + token + unit
