"""Adapter-only checkpoints: what tuning added to a base or changed, and to which base."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from endodav.errors import WeightsError
from endodav.models.adapters import merge
from endodav.models.depth import build
from endodav.models.presets import ModelPreset
from endodav.weights.checkpoint import (
    Tensors,
    load_strict,
    read_checkpoint,
    write_pickle,
    write_safetensors,
)
from endodav.weights.keymaps import to_official
from endodav.weights.runs import LoadedModel, describe, preset_of, preset_to_json


@dataclass(frozen=True)
class AdapterFile:
    """An adapter-only checkpoint.

    Attributes:
        path: the file.
        preset: the adapted network as a whole.
        base: name of the preset it was tuned from.
        base_sha256: of the checkpoint it was tuned from.
        tensors: what the base lacks or has otherwise.
        sha256: of the file.
    """

    path: Path
    preset: ModelPreset
    base: str
    base_sha256: str
    tensors: Tensors
    sha256: str


def save_adapter(
    path: Path,
    model: nn.Module,
    preset: ModelPreset,
    base: LoadedModel,
    about: Mapping[str, str] | None = None,
) -> None:
    """Write the tensors of `model` that `base` lacks or has otherwise; a few hundred kilobytes.

    Args:
        path: usually `RUN/adapter.safetensors`.
        model: the tuned network, adapters not merged.
        preset: the tuned network's architecture; licence and origin become those of the base.
        base: what it was tuned from, untouched since.
        about: more text for the header, such as how it was tuned.

    Raises:
        OutputError: the file cannot be written there.
    """
    before = base.model.state_dict()
    added = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name not in before or not torch.equal(tensor.cpu(), before[name].cpu())
    }
    own = replace(
        preset,
        licence=base.meta.licence,
        permissive=base.preset.permissive,
        origin=f"adapters tuned on {base.preset.name}: {base.meta.origin}",
        repo_id=None,
        filename=None,
        sha256=None,
    )
    header = {
        "preset": preset_to_json(own),
        "base": base.preset.name,
        "base_sha256": base.meta.weights_sha256,
        **(about or {}),
    }
    write_safetensors(path, added, header)


def read_adapter(path: Path) -> AdapterFile:
    """Read an adapter-only checkpoint.

    Raises:
        WeightsError: the file cannot be read, or is not one.
    """
    checkpoint = read_checkpoint(path)
    preset = preset_of(checkpoint)
    try:
        base, base_sha256 = checkpoint.metadata["base"], checkpoint.metadata["base_sha256"]
    except KeyError as error:
        raise WeightsError(
            f"{path} does not say which base its adapters belong to; use a file that "
            "`endodav train` wrote as adapter.safetensors."
        ) from error
    return AdapterFile(path, preset, base, base_sha256, checkpoint.tensors, checkpoint.sha256)


def load_adapter(adapter: AdapterFile, base: LoadedModel, *, any_base: bool = False) -> LoadedModel:
    """The adapted network: the base's tensors with the adapter's beside and instead of them.

    Args:
        adapter: what `read_adapter` returned.
        base: the network it was tuned from.
        any_base: accept a base with another hash, such as the same weights in another format.

    Raises:
        WeightsError: it was tuned on another base, or does not fit this one.
    """
    found = base.meta.weights_sha256
    if found != adapter.base_sha256 and not any_base:
        raise WeightsError(
            f"{adapter.path} was tuned on {adapter.base} with SHA-256 {adapter.base_sha256[:12]}, "
            f"but the base given has {found[:12]}; give that base, or pass any_base=True if the "
            "weights are the same in another format."
        )
    model = build(adapter.preset)
    wanted = model.state_dict().keys()
    shared = {name: value for name, value in base.model.state_dict().items() if name in wanted}
    load_strict(
        model, [shared | adapter.tensors], adapter.path, f"{base.preset.name} with adapters"
    )
    meta = describe(adapter.preset, adapter.preset.name, adapter.sha256)
    settings = {"base": base.preset.name, "base_sha256": found}
    return LoadedModel(model.eval(), adapter.preset, replace(meta, settings=settings))


def merged(loaded: LoadedModel) -> LoadedModel:
    """The same network with its adapters inside the weights they change; works on a copy.

    Every adapter is a rule for a weight, so nothing is left of any of them: what remains of an
    adapted Video Depth Anything without necks is a plain one.
    """
    model = deepcopy(loaded.model)
    merge(model)
    return replace(loaded, model=model, preset=replace(loaded.preset, adapters=None))


def write_official(path: Path, loaded: LoadedModel) -> None:
    """Write a whole network under the names of its official program, which keeps adapters apart.

    Args:
        path: `.pth` for a state dict as `torch.load` reads it, `.safetensors` without code.
        loaded: the network, adapters not merged.

    Raises:
        WeightsError: the suffix is none of these, or no official program has such a network.
        OutputError: the file cannot be written there.
    """
    if loaded.preset.encoder.stem is not None:
        raise WeightsError(
            f"{loaded.preset.name} begins with convolutions, as no official network does; "
            "leave --format official out."
        )
    tensors = to_official(loaded.model.state_dict(), loaded.preset.family)
    match path.suffix.lower():
        case ".safetensors":
            write_safetensors(path, tensors, {})
        case ".pth":
            write_pickle(path, tensors)
        case _:
            raise WeightsError(f"{path} must end in .safetensors or .pth; choose such a name.")
