"""`endodav merge`: one file that `endodav depth` takes, or one for the official program."""

from __future__ import annotations

from pathlib import Path

from endodav.training.adaptation.recipe import AdaptRecipe, DataRecipe, DepthRecipe
from endodav.training.adaptation.start import start
from endodav.weights.adapters import save_adapter
from endodav.weights.checkpoint import read_checkpoint


def run_of_adapters(folder: Path) -> Path:
    recipe = AdaptRecipe(
        name="test", data=DataRecipe(size=(64, 64)), depth=DepthRecipe(image_shape=(32, 32))
    )
    begun = start(recipe, download=False)
    assert begun.base is not None
    save_adapter(folder / "adapter.safetensors", begun.networks.depth, begun.preset, begun.base)
    return folder


def test_a_run_becomes_one_file(endodav, tmp_path: Path) -> None:
    run = run_of_adapters(tmp_path / "run")
    done = endodav("merge", run, "--out", "whole.safetensors")
    assert done.code == 0, done.err
    assert "whole.safetensors" in done.err
    header = read_checkpoint(tmp_path / "whole.safetensors").metadata
    assert '"adapters":null' in header["preset"]


def test_mistakes_are_one_sentence(endodav, tmp_path: Path) -> None:
    run = run_of_adapters(tmp_path / "run")
    official = endodav("merge", run, "--out", "theirs.pth", "--format", "official")
    assert (official.code, "begins with convolutions" in official.err) == (4, True)
    assert not (tmp_path / "theirs.pth").exists()
    nothing = endodav("merge", "nowhere", "--out", "whole.safetensors")
    assert (nothing.code, "no model and no run folder" in nothing.err) == (4, True)
