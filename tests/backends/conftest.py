"""A network small enough to convert in seconds, and exports of it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from endodav.backends.convert import write_folder
from endodav.models.depth import build
from endodav.models.presets import PRESETS, EncoderConfig, HeadConfig, ModelPreset
from endodav.weights.runs import LoadedModel, describe

ENCODER = EncoderConfig(width=32, depth=4, heads=2, taps=(0, 1, 2, 3), image_size=56)
HEAD = HeadConfig(features=32, out_channels=(8, 16, 32, 32))


ROOT = Path(__file__).resolve().parents[2]
EXPORT_VIDEO = """
import sys
from pathlib import Path
from endodav.backends.convert import write_folder
from tests.backends.conftest import clip, tiny
folder, precision = sys.argv[1:]
fixed = [(56, 56), [clip(4, 56, 56)]] if precision == "int8" else []
write_folder(tiny("endodav-tiny"), Path(folder), "openvino", precision, *fixed)
"""


def clip(time: int, rows: int, columns: int, seed: int = 0) -> Tensor:
    """Noise, the same each time."""
    return torch.randn(time, 3, rows, columns, generator=torch.Generator().manual_seed(seed))


def tiny(name: str) -> LoadedModel:
    """A preset's network in a small size, with random weights that let every part matter."""
    own = PRESETS[name]
    preprocessing = replace(own.preprocessing, input_size=56, multiple=ENCODER.patch_size)
    preset: ModelPreset = replace(own, encoder=ENCODER, head=HEAD, preprocessing=preprocessing)
    network = build(preset)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            few = parameter.dim() < 2
            parameter.copy_(0.2 + 0.1 * noise if few else noise / parameter[0].numel() ** 0.5)
    return LoadedModel(network.eval(), preset, describe(preset, name, "0" * 64))


def export_video(folder: Path, precision: str) -> None:
    """The video model for OpenVINO: in INT8 for 56x56 pixels, otherwise for any size."""
    # In a process without the hook that checks annotations, for which a symbolic size is no int.
    command = [sys.executable, "-c", EXPORT_VIDEO, str(folder), precision]
    subprocess.run(command, cwd=ROOT, check=True)


@pytest.fixture(scope="session")
def video_model() -> LoadedModel:
    return tiny("endodav-tiny")


@pytest.fixture(scope="session")
def image_model() -> LoadedModel:
    return tiny("depth-anything-v2-small")


@pytest.fixture(scope="session")
def video_export(video_model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OpenVINO, any size."""
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    folder = tmp_path_factory.mktemp("video")
    export_video(folder, "fp32")
    return folder


@pytest.fixture(scope="session")
def image_export(image_model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ONNX, one size."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the extra onnx is not installed")
    folder = tmp_path_factory.mktemp("image")
    write_folder(image_model, folder, "onnx", "fp32", (56, 70))
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDODAV_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
