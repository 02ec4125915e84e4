"""Adapter-only checkpoints are small, exact, and bound to the base they were tuned on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from endodav.errors import WeightsError
from endodav.models.adapters import adapter_state, merge
from endodav.models.depth import build
from endodav.models.presets import PRESETS, AdapterConfig, ModelPreset, OutputConfig
from endodav.weights import hub as weights_hub
from endodav.weights.adapters import (
    load_adapter,
    merged,
    read_adapter,
    save_adapter,
    write_official,
)
from endodav.weights.checkpoint import read_checkpoint
from endodav.weights.runs import LoadedModel, describe, save_model

KINDS = ["lora", "dvlora", "rvlora", "ssb"]


def base_of(toy: ModelPreset, folder: Path) -> LoadedModel:
    """The toy base, loaded from a file of its own."""
    torch.manual_seed(0)
    path = folder / "base.safetensors"
    save_model(path, build(toy), toy)
    return weights_hub.load(toy.name, weights=path)


def tuned_on(base: LoadedModel, kind: str, output: str = "conv") -> tuple[nn.Module, ModelPreset]:
    """An EndoDAV around the base, with adapters and output layer at values as if tuned."""
    preset = replace(
        PRESETS["endodav-small"],
        name="tuned",
        encoder=base.preset.encoder,
        head=base.preset.head,
        adapters=AdapterConfig(kind, temporal=True),
        output=OutputConfig(output),
        preprocessing=replace(PRESETS["endodav-small"].preprocessing, image_shape=(28, 42)),
    )
    model = build(preset)
    model.load_state_dict(base.model.state_dict(), strict=False)
    with torch.no_grad():
        for parameter in [*adapter_state(model).values(), *model.head.output.parameters()]:
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval(), preset


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("output", ["conv", "pyramid"])
def test_adapters_come_back_exactly_onto_their_base(tmp_path, toy, kind, output):
    base = base_of(toy, tmp_path)
    model, preset = tuned_on(base, kind, output)
    save_adapter(tmp_path / "run" / "adapter.safetensors", model, preset, base)
    loaded = weights_hub.load(str(tmp_path / "run"), weights=tmp_path / "base.safetensors")
    ours, theirs = loaded.model.state_dict(), model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    clip = torch.rand(2, 3, 28, 42)
    with torch.no_grad():
        assert torch.equal(loaded.model.predict_clip(clip), model.predict_clip(clip))


@pytest.mark.parametrize("kind", KINDS)
def test_merging_a_loaded_adapter_changes_nothing(tmp_path, toy, kind):
    base = base_of(toy, tmp_path)
    model, preset = tuned_on(base, kind)
    save_adapter(tmp_path / "adapter.safetensors", model, preset, base)
    loaded = load_adapter(read_adapter(tmp_path / "adapter.safetensors"), base)
    clip = torch.rand(2, 3, 28, 42)
    with torch.no_grad():
        before = loaded.model.predict_clip(clip)
        merge(loaded.model)
        assert not adapter_state(loaded.model)
        assert torch.equal(loaded.model.predict_clip(clip), before)


def test_the_header_names_base_hash_adapters_and_licence(tmp_path, toy):
    base = base_of(toy, tmp_path)
    model, preset = tuned_on(base, "ssb")
    save_adapter(tmp_path / "adapter.safetensors", model, preset, base)
    with safe_open(tmp_path / "adapter.safetensors", framework="pt") as file:
        header = file.metadata()
        assert all(".adapter." in n or n.startswith("head.output") for n in file.keys())  # noqa: SIM118
    described = json.loads(header["preset"])
    assert header["base"] == toy.name
    assert header["base_sha256"] == base.meta.weights_sha256
    assert described["adapters"] == {"kind": "ssb", "rank": 4, "scale": 1.0, "temporal": True}
    assert described["licence"] == toy.licence
    meta = weights_hub.load(str(tmp_path), weights=tmp_path / "base.safetensors").meta
    assert meta.licence == toy.licence
    assert meta.settings == {"base": toy.name, "base_sha256": base.meta.weights_sha256}


def test_another_base_is_refused_unless_asked_for(tmp_path, toy):
    base = base_of(toy, tmp_path)
    model, preset = tuned_on(base, "ssb")
    save_adapter(tmp_path / "adapter.safetensors", model, preset, base)
    other = tmp_path / "other.pth"
    torch.save(base.model.state_dict(), other)  # the same values in another file
    with pytest.raises(WeightsError, match=r"was tuned on toy with SHA-256 .* any_base=True"):
        weights_hub.load(str(tmp_path), weights=other)
    loaded = weights_hub.load(str(tmp_path), weights=other, any_base=True)
    clip = torch.rand(2, 3, 28, 42)
    with torch.no_grad():
        assert torch.equal(loaded.model.predict_clip(clip), model.predict_clip(clip))


def test_a_limited_base_is_refused_for_permissive_use_only(tmp_path, toy, register):
    base = base_of(toy, tmp_path)
    model, preset = tuned_on(base, "ssb")
    save_adapter(tmp_path / "adapter.safetensors", model, preset, base)
    register(replace(toy, permissive=False, licence="CC-BY-NC-4.0"))
    with pytest.raises(WeightsError, match="licence CC-BY-NC"):
        weights_hub.load(str(tmp_path), permissive_only=True)


def test_files_that_are_no_adapters_are_refused(tmp_path, toy, register):
    save_model(tmp_path / "adapter.safetensors", build(toy), toy)
    with pytest.raises(WeightsError, match="does not say which base"):
        weights_hub.load(str(tmp_path))
    base = base_of(toy, tmp_path)
    model, preset = tuned_on(base, "ssb")
    renamed = replace(base, preset=replace(base.preset, name="gone"))
    save_adapter(tmp_path / "adapter.safetensors", model, preset, renamed)
    with pytest.raises(WeightsError, match="named 'gone'"):
        weights_hub.load(str(tmp_path))


def test_the_adapters_of_a_small_vit_stay_well_under_a_megabyte(tmp_path):
    base_preset, preset = PRESETS["video-depth-anything-small"], PRESETS["endodav-small"]
    torch.manual_seed(0)
    base, model = build(base_preset), build(preset)
    model.load_state_dict(base.state_dict(), strict=False)
    described = describe(base_preset, base_preset.name, "0" * 64)
    path = tmp_path / "adapter.safetensors"
    save_adapter(path, model, preset, LoadedModel(base, base_preset, described))
    assert path.stat().st_size < 300_000  # 49,600 trained values, 4 bytes each
    assert sum(t.numel() for t in read_adapter(path).tensors.values()) == 49_600


@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_file_is_a_whole_plain_network_of_the_same_depth(tmp_path, toy, kind):
    base = base_of(toy, tmp_path)
    model, preset = tuned_on(base, kind)
    save_adapter(tmp_path / "run" / "adapter.safetensors", model, preset, base)
    run = weights_hub.load(str(tmp_path / "run"), weights=tmp_path / "base.safetensors")
    whole, plain = tmp_path / "whole.safetensors", merged(run)
    save_model(whole, plain.model, plain.preset)
    loaded = weights_hub.load(str(whole))
    assert loaded.preset.adapters is None
    assert loaded.model.state_dict().keys() == base.model.state_dict().keys()
    assert adapter_state(run.model)  # the run itself is untouched
    clip = torch.rand(2, 3, 28, 42)
    with torch.no_grad():
        assert torch.equal(loaded.model.predict_clip(clip), model.predict_clip(clip))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("output", ["conv", "pyramid"])
def test_an_official_file_comes_back_through_the_official_names(
    tmp_path, toy, register, suffix, output
):
    base = base_of(toy, tmp_path)
    model, preset = tuned_on(base, "ssb", output)
    save_adapter(tmp_path / "run" / "adapter.safetensors", model, preset, base)
    run = weights_hub.load(str(tmp_path / "run"), weights=tmp_path / "base.safetensors")
    path = tmp_path / f"official{suffix}"
    write_official(path, run)
    names = read_checkpoint(path).tensors.keys()
    assert "pretrained.blocks.0.mlp.fc1.lora_A" in names
    assert not any(name.startswith("encoder.") for name in names)
    loaded = weights_hub.load(register(preset).name, weights=path)
    clip = torch.rand(2, 3, 28, 42)
    with torch.no_grad():
        assert torch.equal(loaded.model.predict_clip(clip), model.predict_clip(clip))


def test_an_official_file_needs_a_name_that_programs_know(tmp_path, toy):
    base = base_of(toy, tmp_path)
    with pytest.raises(WeightsError, match=r"must end in \.safetensors or \.pth"):
        write_official(tmp_path / "model.bin", base)
