"""The README's commands and snippets run as printed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
# Commands that set the machine up: CI itself runs them.
SETUP = ("git ", "make ", "pip ", "uv ", "cd ")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def commands() -> list[str]:
    lines = [line.strip() for block in blocks("bash") for line in block.splitlines()]
    lines = [
        line.partition("  #")[0].strip() for line in lines if line and not line.startswith("#")
    ]
    return [line for line in lines if not line.startswith(SETUP)]


@pytest.fixture(scope="module")
def surgery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where `surgery.mp4` exists, as the README assumes."""
    folder = tmp_path_factory.mktemp("readme")
    demo = ROOT / "src/endodav/synthetic/demo.mp4"
    (folder / "surgery.mp4").write_bytes(demo.read_bytes())
    return folder


def test_the_readme_shows_commands_and_python():
    assert len(commands()) >= 3
    assert blocks("python")


@pytest.mark.parametrize("command", commands())
def test_command(command: str, surgery: Path):
    program, *arguments = shlex.split(command)
    assert program == "endodav", command
    code = "from endodav.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=surgery, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("snippet", blocks("python"))
def test_snippet(snippet: str, surgery: Path):
    done = subprocess.run(
        [sys.executable, "-c", snippet], cwd=surgery, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
