"""What models there are: the table behind `endodav models`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from endodav.models.depth import build
from endodav.models.presets import PRESETS, ModelPreset
from endodav.types import Kind, Units
from endodav.weights.download import bundled, cached


@dataclass(frozen=True)
class ModelInfo:
    """One line of the table.

    Attributes:
        name: what users call it.
        parameters: number of parameters of the network.
        kind: what its numbers mean.
        units: in what they are measured.
        licence: of the weights.
        permissive: whether that licence allows commercial use.
        origin: whose work the weights are.
        where: "bundled", the repository on the hub, or "your own checkpoint".
        available: whether it loads without a download.
    """

    name: str
    parameters: int
    kind: Kind
    units: Units
    licence: str
    permissive: bool
    origin: str
    where: str
    available: bool


def describe_models() -> list[ModelInfo]:
    """All presets in their order; asks no server and loads no weights."""
    return [_describe(preset) for preset in PRESETS.values()]


def count_parameters(preset: ModelPreset) -> int:
    """Parameters of a preset's network, counted on the network itself but without its memory."""
    with _WithoutMemory():
        return sum(parameter.numel() for parameter in build(preset).parameters())


class _WithoutMemory(TorchFunctionMode):
    """Makes uninitialised tensors, as which layers are born, without memory, and leaves them so.

    `torch.device("meta")` would do the same to all tensors, at the price of seconds of imports.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        options = kwargs or {}
        if func is torch.empty:
            return func(*args, **(options | {"device": "meta"}))
        if getattr(func, "__module__", "") == "torch.nn.init":
            return options["tensor"] if "tensor" in options else args[0]
        return func(*args, **options)


def _describe(preset: ModelPreset) -> ModelInfo:
    is_bundled = bundled(preset) is not None
    return ModelInfo(
        name=preset.name,
        parameters=count_parameters(preset),
        kind=preset.kind,
        units=preset.units,
        licence=preset.licence,
        permissive=preset.permissive,
        origin=preset.origin,
        where="bundled" if is_bundled else preset.repo_id or "your own checkpoint",
        available=is_bundled or cached(preset) is not None,
    )
