"""Checkpoints of our own: a safetensors file whose header says which network it belongs to.

A run folder holds `model.safetensors` (a whole network) or `adapter.safetensors` (what tuning
added to a base, see `endodav.weights.adapters`). The header carries the complete `ModelPreset` as
JSON, so a run loads whatever the presets of this version are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from torch import nn

from endodav.errors import WeightsError
from endodav.models.presets import ModelPreset
from endodav.types import DepthMeta
from endodav.weights.checkpoint import Checkpoint, write_safetensors

MODEL_FILE = "model.safetensors"
ADAPTER_FILE = "adapter.safetensors"

_PRESET_JSON = TypeAdapter(ModelPreset)


@dataclass(frozen=True)
class LoadedModel:
    """A network with its weights, and what an output has to say about them.

    Attributes:
        model: in evaluation mode, float32, on the device asked for.
        preset: its architecture, input and licence.
        meta: kind, units, hash, licence and origin; the source and the settings are still empty.
    """

    model: nn.Module
    preset: ModelPreset
    meta: DepthMeta


def save_model(
    path: Path, model: nn.Module, preset: ModelPreset, about: Mapping[str, str] | None = None
) -> None:
    """Write a whole network as safetensors that `endodav.weights.hub.load` takes back.

    Args:
        path: usually `RUN/model.safetensors`.
        model: the network; its values are stored in the precision they have.
        preset: what it is; say here what licence and origin the new weights have.
        about: more text for the header, such as how it was trained.

    Raises:
        OutputError: the file cannot be written there.
    """
    own = replace(preset, repo_id=None, filename=None, sha256=None)
    write_safetensors(path, model.state_dict(), {"preset": preset_to_json(own), **(about or {})})


def preset_to_json(preset: ModelPreset) -> str:
    """A preset as one JSON object."""
    return _PRESET_JSON.dump_json(preset).decode()


def preset_of(checkpoint: Checkpoint) -> ModelPreset:
    """The preset in the header of a checkpoint of ours.

    Raises:
        WeightsError: there is none, or it is not one.
    """
    try:
        return _PRESET_JSON.validate_json(checkpoint.metadata["preset"])
    except (KeyError, ValidationError) as error:
        raise WeightsError(
            f"{checkpoint.path} does not say which network it belongs to; name the model and give "
            "the file with --weights FILE."
        ) from error


def describe(preset: ModelPreset, name: str, sha256: str) -> DepthMeta:
    """What outputs of a preset with these weights say about themselves."""
    return DepthMeta(
        kind=preset.kind,
        units=preset.units,
        model=name,
        weights_sha256=sha256,
        licence=preset.licence,
        origin=preset.origin,
        source="",
        endodav_version=version("endodav"),
    )
