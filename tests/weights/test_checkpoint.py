"""Checkpoint files are data: exact tensors out, one sentence for anything else, no code run."""

from __future__ import annotations

import hashlib
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from endodav.errors import OutputError, WeightsError
from endodav.weights.checkpoint import load_strict, read_checkpoint, write_safetensors


class Intruder:
    """Unpickling this creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"a.weight": torch.randn(3, 4, generator=generator), "a.bias": torch.ones(3)}


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: t,
        lambda t: {"model": t, "epoch": 3},
        lambda t: {"state_dict": {"model": t}},
        lambda t: {f"module.{k}": v for k, v in t.items()},
        lambda t: t | {"height": 256, "use_stereo": False},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_state_dicts_are_unwrapped(tmp_path, tensors, wrap, zipped):
    path = tmp_path / "w.pth"
    torch.save(wrap(tensors), path, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(path)
    assert found.tensors.keys() == tensors.keys()
    assert all(torch.equal(found.tensors[name], tensors[name]) for name in tensors)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_half_precision_becomes_float32_and_integers_stay(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"w": torch.tensor([0.1]).half(), "n": torch.tensor([7])}, path, {"preset": "x"})
    found = read_checkpoint(path)
    assert found.metadata == {"preset": "x"}
    assert found.tensors["w"].dtype is torch.float32
    assert found.tensors["w"].item() == torch.tensor(0.1).half().item()
    assert found.tensors["n"].dtype is torch.int64


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
@pytest.mark.parametrize("way", ["protocol 2", "protocol 5", "torch.save", "legacy"])
def test_a_malicious_pickle_is_refused_and_not_executed(tmp_path, tensors, suffix, way):
    marker, path = tmp_path / "executed", tmp_path / f"w{suffix}"
    content = {"state_dict": tensors, "extra": Intruder(marker)}
    if way.startswith("protocol"):
        path.write_bytes(pickle.dumps(content["extra"], protocol=int(way[-1])))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=way == "torch.save")
    objects = f"holds Python objects besides tensors ({os.name}.mkdir)"
    assert ("of another kind" if way == "protocol 5" else objects) in refusal(path)
    assert not marker.exists()
    assert pickle.loads(pickle.dumps(Intruder(marker))) is None
    assert marker.is_dir()  # the same pickle, opened carelessly, would have run


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, tensors, suffix, kept):
    path = tmp_path / f"w{suffix}"
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    assert "cut short" in refusal(path)


def test_what_is_not_a_checkpoint_is_named(tmp_path, tensors):
    def written(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    assert "is empty" in refusal(written("a.pth", b""))
    assert "is empty" in refusal(written("a.safetensors", b""))
    assert "web page" in refusal(written("b.pth", b"\n<!DOCTYPE html><html>404</html>"))
    assert "Git LFS" in refusal(written("c.safetensors", b"version https://git-lfs.github.com/v1"))
    assert "must end in .safetensors, .pth, .pt" in refusal(written("d.onnx", b"x"))
    assert "cut short" in refusal(written("e.pth", b"some text that is no pickle"))
    assert "No such file" in refusal(tmp_path / "missing.pth")
    folder = tmp_path / "folder.pth"
    folder.mkdir()
    assert "is a folder" in refusal(folder)
    with zipfile.ZipFile(tmp_path / "z.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "of another kind" in refusal(tmp_path / "z.pth")


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "w.pth"
    path.write_bytes(b"x")

    def forbidden(self: Path, *args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)  # root may read everything, so chmod shows nothing
    assert "Permission denied" in refusal(path)


@pytest.mark.parametrize(
    "content", [[1, 2], {}, {"epoch": 3}, torch.ones(2)], ids=["list", "empty", "numbers", "tensor"]
)
def test_a_file_without_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    assert "holds no tensors" in refusal(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.eye(3).to_sparse(),
        torch.ones(2, dtype=torch.complex64),
        torch.empty(2, device="meta"),
    ],
    ids=["sparse", "complex", "meta"],
)
def test_unusual_tensors_are_refused(tmp_path, tensor):
    torch.save({"w": tensor}, tmp_path / "w.pth")
    assert "holds w as a sparse" in refusal(tmp_path / "w.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(tmp_path, tensors, value):
    tensors["a.bias"][1] = value
    torch.save(tensors, tmp_path / "w.pth")
    assert "not finite in 1 tensors (a.bias)" in refusal(tmp_path / "w.pth")


def test_strict_loading_says_what_does_not_fit(tensors):
    model = nn.ModuleDict({"a": nn.Linear(4, 3)})
    load_strict(model, [{"other": torch.ones(1)}, tensors], Path("w.pth"), "toy")
    assert torch.equal(model["a"].weight, tensors["a.weight"])

    wrong = {"a.weight": torch.ones(3, 5)} | {f"b.{k}": torch.ones(1) for k in range(5)}
    with pytest.raises(WeightsError) as caught:
        load_strict(model, [wrong], Path("w.pth"), "toy")
    assert str(caught.value) == (
        "w.pth does not fit toy: tensors 1 missing (a.bias), 5 left over (b.0, b.1, b.2, ...), "
        "1 of another shape (a.weight [3, 5] not [3, 4]); "
        "choose the model this checkpoint was made for."
    )
    assert torch.equal(model["a"].weight, tensors["a.weight"])


def test_written_files_read_back_and_replace_atomically(tmp_path, tensors):
    path = tmp_path / "run" / "model.safetensors"
    write_safetensors(path, {"a": tensors["a.weight"].T}, {"preset": "x"})
    found = read_checkpoint(path)
    assert torch.equal(found.tensors["a"], tensors["a.weight"].T)
    assert found.metadata == {"preset": "x"}
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]

    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_safetensors(tmp_path / "file" / "model.safetensors", tensors, {})
