"""Names to networks: published and own weights load strictly, with official names or ours."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from endodav.errors import WeightsError
from endodav.models.depth import build
from endodav.models.presets import ModelPreset
from endodav.types import Kind, Units
from endodav.weights import hub as weights_hub
from endodav.weights import keymaps
from endodav.weights.runs import save_model


def same(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def sentence(*args: object, **options: object) -> str:
    with pytest.raises(WeightsError) as caught:
        weights_hub.load(*args, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


@pytest.fixture
def network(toy: ModelPreset) -> nn.Module:
    torch.manual_seed(0)
    return build(toy)


@pytest.fixture
def official(tmp_path: Path, toy: ModelPreset, network: nn.Module) -> Path:
    path = tmp_path / str(toy.filename)
    torch.save(keymaps.to_official(network.state_dict(), toy.family), path)
    return path


def test_an_official_checkpoint_is_fetched_loaded_and_described(hub, toy, network, official):
    hub.files[f"{toy.repo_id}/{toy.filename}"] = official.read_bytes()
    said: list[str] = []
    loaded = weights_hub.load(toy.name, announce=said.append)
    assert same(loaded.model, network)
    assert not loaded.model.training
    assert loaded.preset is toy
    assert loaded.meta.weights_sha256 == hashlib.sha256(official.read_bytes()).hexdigest()
    assert (loaded.meta.kind, loaded.meta.units) == (Kind.INVERSE_DEPTH, Units.AFFINE_INVARIANT)
    assert (loaded.meta.model, loaded.meta.licence) == (toy.name, toy.licence)
    assert len(said) == 1
    weights_hub.load(toy.name, announce=said.append)
    assert len(said) == 1


@pytest.mark.parametrize("names", ["official", "ours"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_ones_own_file_loads_with_either_names(tmp_path, toy, network, names, suffix):
    state = dict(network.state_dict())
    state = keymaps.to_official(state, toy.family) if names == "official" else state
    path = tmp_path / f"own{suffix}"
    torch.save(state, path) if suffix == ".pth" else save_file(state, path)
    loaded = weights_hub.load(toy.name, weights=path)
    assert same(loaded.model, network)
    assert loaded.meta.origin == f"{path.name}, given for {toy.origin}"


def test_half_precision_files_load_as_float32(tmp_path, toy, network):
    save_model(tmp_path / "run" / "model.safetensors", network.half(), toy)
    loaded = weights_hub.load(str(tmp_path / "run"))
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert same(loaded.model, network.float())


def test_a_run_folder_says_itself_what_it_is(tmp_path, toy, network):
    run = tmp_path / "run"
    preset = replace(toy, name="mine", licence="MIT", origin="my clips")
    save_model(run / "model.safetensors", network, preset)
    loaded = weights_hub.load(str(run))
    assert same(loaded.model, network)
    assert loaded.preset == replace(preset, repo_id=None, filename=None, sha256=None)
    assert (loaded.meta.model, loaded.meta.licence) == (str(run), "MIT")
    assert (loaded.meta.origin, loaded.meta.source) == ("my clips", "")


def test_a_pinned_hash_is_verified(hub, toy, official, register):
    content = official.read_bytes()
    hub.files[f"{toy.repo_id}/{toy.filename}"] = content
    register(replace(toy, sha256=hashlib.sha256(content).hexdigest()))
    weights_hub.load(toy.name)
    register(replace(toy, sha256="0" * 64))
    assert "is published with 000000000000; delete the file" in sentence(toy.name)


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path, toy, official, register):
    register(replace(toy, name="wider", encoder=replace(toy.encoder, width=48)))
    message = sentence("wider", weights=official)
    assert "does not fit wider" in message
    assert "of another shape" in message
    register(replace(toy, name="deeper", encoder=replace(toy.encoder, depth=6)))
    assert "missing" in sentence("deeper", weights=official)
    register(replace(toy, name="images", family="depth_anything_v2"))
    assert "left over" in sentence("images", weights=official)


def test_unknown_names_come_with_close_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = sentence("video-depth-anything-smal")
    assert "did you mean video-depth-anything-small," in message
    assert "`endodav models`" in message
    assert "did you mean" not in sentence("zzz")
    assert "neither model.safetensors nor adapter.safetensors" in sentence(str(tmp_path))
    (tmp_path / "x.pth").write_bytes(b"x")
    assert "give the file with --weights" in sentence("x.pth")


def test_a_run_without_a_readable_header_is_refused(tmp_path, toy, network):
    path = tmp_path / "model.safetensors"
    save_file(dict(network.state_dict()), path)
    assert "does not say which network it belongs to" in sentence(str(tmp_path))
    save_file(dict(network.state_dict()), path, {"preset": '{"name": 3}'})
    assert "does not say which network it belongs to" in sentence(str(tmp_path))
    assert same(weights_hub.load(toy.name, weights=path).model, network)
