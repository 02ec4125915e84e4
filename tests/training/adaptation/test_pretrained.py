"""ImageNet weights: found, or missed aloud."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from endodav.training.adaptation import pretrained
from endodav.training.adaptation.pretrained import TORCHVISION_FILE, imagenet_file


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches, and a hub that cannot be reached."""

    def unreachable(*_: object) -> str:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(pretrained, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(pretrained, "hf_hub_download", unreachable)
    return tmp_path / "checkpoints" / TORCHVISION_FILE


def test_a_hub_out_of_reach_is_said_and_survived(nowhere: Path) -> None:
    with pytest.warns(UserWarning, match="begin at random"):
        assert imagenet_file() is None
    assert imagenet_file(download=False) is None


def test_torch_hubs_file_is_found(nowhere: Path) -> None:
    nowhere.parent.mkdir()
    nowhere.touch()
    assert imagenet_file() == nowhere
