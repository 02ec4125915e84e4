"""Licences are said once to each user and enforced before anything is downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from endodav.errors import WeightsError
from endodav.models.presets import PRESETS
from endodav.weights import hub as weights_hub
from endodav.weights.licences import announce_once, cache_folder, licence_notice, require_permissive

FREE, LIMITED = PRESETS["video-depth-anything-small"], PRESETS["video-depth-anything-large"]


def test_the_notice_names_licence_and_origin():
    assert "Apache-2.0; from Video Depth Anything" in licence_notice(FREE)
    assert "CC-BY-NC-4.0, so no commercial use" in licence_notice(LIMITED)


def test_each_model_is_announced_once(caches):
    said: list[str] = []
    for preset in (FREE, LIMITED, FREE, FREE):
        announce_once(preset, said.append)
    assert said == [licence_notice(FREE), licence_notice(LIMITED)]


def test_a_cache_that_cannot_be_written_only_repeats_the_notice(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ENDODAV_CACHE", str(tmp_path / "file"))
    said: list[str] = []
    announce_once(FREE, said.append)
    announce_once(FREE, said.append)
    assert len(said) == 2


def test_the_cache_is_in_the_home_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv("ENDODAV_CACHE", raising=False)
    monkeypatch.setenv("HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/.cache/endodav")


def test_permissive_only_refuses_before_the_download(hub):
    hub.files[f"{LIMITED.repo_id}/{LIMITED.filename}"] = b"weights"
    said: list[str] = []
    with pytest.raises(WeightsError) as caught:
        weights_hub.load(LIMITED.name, permissive_only=True, announce=said.append)
    assert "has the licence CC-BY-NC-4.0" in str(caught.value)
    assert FREE.name in str(caught.value)
    assert not hub.requests
    assert not said
    require_permissive(FREE)
