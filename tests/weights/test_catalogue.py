"""The table of models counts on the networks themselves and knows what is at hand."""

from __future__ import annotations

import torch

from endodav.models.depth import build
from endodav.models.presets import PRESETS
from endodav.weights.catalogue import count_parameters, describe_models
from endodav.weights.download import fetch


def test_every_preset_is_described_without_a_server(hub):
    table = {info.name: info for info in describe_models()}
    assert list(table) == list(PRESETS)
    small = table["video-depth-anything-small"]
    assert (small.where, small.available) == ("depth-anything/Video-Depth-Anything-Small", False)
    assert (table["endodav-tiny"].where, table["endodav-tiny"].available) == ("bundled", True)
    assert table["endodac-small"].where == "your own checkpoint"
    assert not hub.requests


def test_a_downloaded_file_shows_as_available(hub):
    preset = PRESETS["depth-anything-v2-small"]
    hub.files[f"{preset.repo_id}/{preset.filename}"] = b"weights"
    fetch(preset)
    assert {info.name for info in describe_models() if info.available} == {
        preset.name,
        "endodav-tiny",
    }


def test_parameters_are_counted_on_the_network():
    tiny = PRESETS["endodav-tiny"]
    assert count_parameters(tiny) == sum(p.numel() for p in build(tiny).parameters())
    # 29,080,193 elements of the official checkpoint less mask token, unused unit and position codes
    assert 28.9e6 < count_parameters(PRESETS["video-depth-anything-small"]) < 29.08e6
    assert torch.empty(1).device.type == "cpu"
