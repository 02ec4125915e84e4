"""The fixtures' depth networks run by a backend, and how near that has to come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import nn

from endodav.backends.convert import run_outside
from endodav.models.presets import ModelPreset
from endodav.weights.runs import LoadedModel, describe
from tests.golden.compare import Comparison

ITEMS = (
    "02_depth_anything_v2",
    "05_vda_infer_video",
    "06_vda_streaming",
    "10_endodav_infer_video",
)
# Of the worst element, by what computes and in which precision; where an item allows more, more.
TOLERANCES: Mapping[str, float] = {
    "onnx:fp32": 1e-3,
    "openvino:fp32": 1e-3,
    "openvino:bf16": 1e-1,
}
_by: list[str] = []


@contextmanager
def run_by(way: str) -> Iterator[None]:
    """While this lasts, networks are run that way: a key of `TOLERANCES`."""
    _by.append(way)
    try:
        yield
    finally:
        _by.pop()


def network_of(network: nn.Module, preset: ModelPreset) -> Any:
    """The network, or what runs it now."""
    if not _by:
        return network
    backend, precision = _by[-1].split(":")
    meta = describe(preset, "golden", "0" * 64)
    return run_outside(LoadedModel(network.eval(), preset, meta), backend, precision).model


def judged(comparison: Comparison) -> Comparison:
    """By the tolerance of what runs the networks now."""
    if not _by or comparison.tolerance == 0.0:
        return comparison
    return replace(comparison, tolerance=max(comparison.tolerance, TOLERANCES[_by[-1]]))
