"""Fixtures over `world`."""

import pytest

from .world import narrow


@pytest.fixture
def narrow_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small companions in this process."""
    narrow(monkeypatch)
