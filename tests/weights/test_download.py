"""The real client of the hub against a small hub on the loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from endodav.errors import WeightsError
from endodav.models.presets import PRESETS, ModelPreset
from endodav.weights.download import cached, fetch

CONTENT = bytes(range(256)) * 2000
REPO, FILE = "depth-anything/Toy", "toy.pth"


@pytest.fixture
def preset() -> ModelPreset:
    return replace(PRESETS["video-depth-anything-small"], repo_id=REPO, filename=FILE)


def refusal(preset: ModelPreset) -> str:
    with pytest.raises(WeightsError) as caught:
        fetch(preset)
    message = str(caught.value)
    assert "\n" not in message
    assert "give it with --weights FILE." in message
    assert FILE in message
    assert REPO in message
    return message


def test_a_file_is_downloaded_once_and_then_used_without_asking(hub, preset):
    hub.files[f"{REPO}/{FILE}"] = CONTENT
    assert cached(preset) is None
    path = fetch(preset)
    assert path.name == FILE
    assert path.read_bytes() == CONTENT
    asked = len(hub.requests)
    assert fetch(preset) == cached(preset) == path
    assert len(hub.requests) == asked


def test_a_broken_transfer_is_resumed(hub, preset, monkeypatch):
    hub.files[f"{REPO}/{FILE}"] = CONTENT
    hub.cut = 2
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)
    assert fetch(preset).read_bytes() == CONTENT
    ranges = [span for method, path, span in hub.requests if method == "GET"]
    assert ranges[0] is None
    assert len(ranges) == 3, hub.requests
    assert all(span is not None for span in ranges[1:])


def test_a_transfer_that_never_ends_well_leaves_no_checkpoint(hub, preset):
    hub.files[f"{REPO}/{FILE}"] = CONTENT
    hub.shortened = True
    assert "because the transfer broke off" in refusal(preset)
    assert cached(preset) is None


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        ("no-repo", "the hub knows no such public repository"),
        ("no-file", "the repository has no such file"),
        ("gated", "accept terms"),
        ("unauthorised", "accept terms"),
        ("forbidden", "the hub answered with HTTP status 403"),
        ("broken", "the hub answered with HTTP status 500"),
    ],
)
def test_a_refusal_of_the_hub_is_one_sentence(hub, preset, refused, reason):
    hub.refusals[REPO] = refused
    assert reason in refusal(preset)


def test_without_network_the_sentence_says_so(hub, preset, monkeypatch):
    for name in ("ENDPOINT", "HUGGINGFACE_CO_URL_TEMPLATE"):
        closed = getattr(constants, name).replace(hub.url, "http://127.0.0.1:9")
        monkeypatch.setattr(constants, name, closed)
    assert "the hub cannot be reached" in refusal(preset)
    assert not hub.requests


def test_offline_mode_is_obeyed(hub, preset, monkeypatch):
    hub.files[f"{REPO}/{FILE}"] = CONTENT
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refusal(preset)
    assert not hub.requests


def test_a_preset_without_a_published_file_asks_for_one(preset):
    with pytest.raises(WeightsError, match="no published checkpoint; give one of your own"):
        fetch(replace(preset, repo_id=None, filename=None))


def test_the_environment_chooses_server_and_cache(hub, preset, tmp_path):
    hub.files[f"{preset.repo_id}/{preset.filename}"] = CONTENT
    program = (
        "from dataclasses import replace\n"
        "from endodav.models.presets import PRESETS\n"
        "from endodav.weights.download import fetch\n"
        "p = PRESETS['video-depth-anything-small']\n"
        f"print(fetch(replace(p, repo_id={REPO!r}, filename={FILE!r})))"
    )
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    path = Path(run.stdout.strip())
    assert path.is_relative_to(tmp_path / "home")
    assert path.read_bytes() == CONTENT
