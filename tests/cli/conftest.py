"""The command as a user meets it, run in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Done:
    """What a command left behind: exit code, standard output and standard error."""

    code: int
    out: str
    err: str


@pytest.fixture
def endodav(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Done]:
    """Run `endodav ARGUMENTS` in a fresh folder, without a shell and without a network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENDODAV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(*arguments: object) -> Done:
        from endodav.cli.app import main

        monkeypatch.setattr(sys, "argv", ["endodav", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return Done(code, out, " ".join(err.split()))

    return run
