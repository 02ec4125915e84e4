"""From a name to a network: find its weights, check them, and load them strictly."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path

import torch

from endodav.errors import WeightsError
from endodav.models.depth import build
from endodav.models.presets import PRESETS, ModelPreset
from endodav.weights import keymaps
from endodav.weights.adapters import load_adapter, read_adapter
from endodav.weights.checkpoint import Checkpoint, load_strict, read_checkpoint
from endodav.weights.download import fetch
from endodav.weights.licences import Announce, admit
from endodav.weights.runs import (
    ADAPTER_FILE,
    MODEL_FILE,
    LoadedModel,
    describe,
    preset_of,
)

__all__ = ["LoadedModel", "load"]


def load(
    name_or_path: str,
    *,
    weights: Path | None = None,
    permissive_only: bool = False,
    device: str | torch.device = "cpu",
    announce: Announce | None = None,
    any_base: bool = False,
) -> LoadedModel:
    """Load a model by its name or from a run folder.

    Args:
        name_or_path: a key of `PRESETS`, a folder that `endodav train` or `endodav adapt` wrote,
            or a file that `endodav merge` wrote.
        weights: a checkpoint of one's own in place of the published one: `.pth` or `.safetensors`,
            with official names or ours. For a run of adapters it is the base's checkpoint.
        permissive_only: refuse weights that do not allow commercial use, before any download.
        device: where the network goes.
        announce: told licence and origin, once to each user; nobody is if None.
        any_base: let adapters go onto a base whose hash is not the one they were tuned on.

    Raises:
        WeightsError: the name is unknown, the licence is refused, the file cannot be had or read,
            or it does not fit the network.
    """
    preset = PRESETS.get(name_or_path)
    if preset is not None:
        admit(preset, permissive_only, announce)
        loaded = _load_preset(preset, weights)
    elif ((run := _run_folder(name_or_path)) / ADAPTER_FILE).is_file():
        adapter = read_adapter(run / ADAPTER_FILE)
        base = _preset(adapter.base)
        admit(base, permissive_only, announce)
        loaded = load_adapter(adapter, _load_preset(base, weights), any_base=any_base)
    else:
        checkpoint = read_checkpoint(run if run.is_file() else run / MODEL_FILE)
        preset = preset_of(checkpoint)
        admit(preset, permissive_only, announce)
        loaded = _assemble(preset, read_checkpoint(weights) if weights else checkpoint)
    meta = replace(loaded.meta, model=name_or_path)
    return replace(loaded, model=loaded.model.to(device), meta=meta)


def _load_preset(preset: ModelPreset, weights: Path | None) -> LoadedModel:
    """The preset with its published weights, or with a checkpoint of the user's own."""
    checkpoint = read_checkpoint(weights or fetch(preset))
    if weights is None and preset.sha256 not in (None, checkpoint.sha256):
        raise WeightsError(
            f"{checkpoint.path} has SHA-256 {checkpoint.sha256[:12]}, but {preset.name} is "
            f"published with {str(preset.sha256)[:12]}; delete the file and try again."
        )
    loaded = _assemble(preset, checkpoint)
    if weights is None:
        return loaded
    return replace(
        loaded, meta=replace(loaded.meta, origin=f"{weights.name}, given for {preset.origin}")
    )


def _assemble(preset: ModelPreset, checkpoint: Checkpoint) -> LoadedModel:
    """Build the network and load the checkpoint, whether its names are ours or official."""
    model = build(preset)
    candidates = [checkpoint.tensors, keymaps.to_ours(checkpoint.tensors, preset.family)]
    load_strict(model, candidates, checkpoint.path, preset.name)
    meta = describe(preset, preset.name, checkpoint.sha256)
    return LoadedModel(model.eval(), preset, meta)


def _preset(name: str) -> ModelPreset:
    """The preset that adapters name as their base."""
    if name not in PRESETS:
        raise _unknown(name)
    return PRESETS[name]


def _run_folder(name: str) -> Path:
    """The run folder of that name, or the file that says itself what it is."""
    folder = Path(name)
    if folder.is_dir():
        if any((folder / file).is_file() for file in (ADAPTER_FILE, MODEL_FILE)):
            return folder
        raise WeightsError(
            f"{folder} holds neither {MODEL_FILE} nor {ADAPTER_FILE}; give a folder that "
            "`endodav train` wrote."
        )
    if folder.is_file():
        if folder.suffix.lower() == ".safetensors":
            return folder
        raise WeightsError(
            f"{folder} is a file, not a model name or a run folder; name the model with --model "
            "and give the file with --weights."
        )
    raise _unknown(name)


def _unknown(name: str) -> WeightsError:
    close = difflib.get_close_matches(name, PRESETS, n=3)
    hint = f"did you mean {', '.join(close)}? " if close else ""
    return WeightsError(
        f"There is no model and no run folder named {name!r}; {hint}"
        "`endodav models` lists all models."
    )
