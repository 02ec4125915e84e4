"""`endodav export` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from endodav.weights.runs import save_model
from tests.backends.conftest import tiny


def test_export_writes_a_folder_that_runs_without_pytorch(endodav, tmp_path, make_video):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the extra onnx is not installed")
    model = tiny("depth-anything-v2-small")
    save_model(tmp_path / "run" / "model.safetensors", model.model, model.preset)
    done = endodav("export", "run", "--format", "onnx", "--size", "56x70", "--out", "o", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["rendered"]["relative"] < 1e-5
    files = {path.name for path in (tmp_path / "o").iterdir()}
    graphs = {"encoder.onnx", "decoder.onnx"}
    assert files == graphs | {"model.json", "parity.json", "README.md", "run.py"}
    assert "Apache-2.0" in (tmp_path / "o" / "README.md").read_text()

    make_video(tmp_path / "clip.mp4", count=3, size=(56, 70))
    command = [sys.executable, "-c", _WITHOUT_TORCH, "clip.mp4", "depth.npy"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert np.load(tmp_path / "depth.npy").shape == (3, 56, 70)

    again = endodav("export", "run", "--format", "onnx", "--size", "56x70", "--out", "o")
    assert again.code == 5
    assert "o is there already" in again.err


_WITHOUT_TORCH = """
import runpy, sys
sys.modules["torch"] = None
runpy.run_path("o/run.py", run_name="__main__")
"""


def test_impossible_exports_leave_nothing(endodav, tmp_path):
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    model = tiny("depth-anything-v2-small")
    save_model(tmp_path / "run" / "model.safetensors", model.model, model.preset)
    for options, told in (
        (("--size", "100x100"), "multiples of 14"),
        (("--size", "large"), "ROWSxCOLUMNS"),
        (("--precision", "bf16"), "onnx has no bf16 here; choose from fp32, int8"),
        (("--calibrate", "a.mp4"), "Only INT8 is calibrated"),
    ):
        done = endodav("export", "run", "--format", "onnx", "--out", "o", *options)
        assert done.code == 6
        assert told in done.err
    assert not (tmp_path / "o").exists()
