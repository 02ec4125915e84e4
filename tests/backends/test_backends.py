"""A backend gives the depth that PyTorch gives, at every size, in clips and in streams."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from endodav.backends.convert import open_folder, run_outside, write_folder
from endodav.backends.portable import portable
from endodav.errors import RecipeError, WeightsError
from endodav.export.parity import measure
from endodav.inference.predictor import ClipNetwork, ConcurrentNetwork, StreamingNetwork
from endodav.models.temporal import HEADS, TemporalAttention
from endodav.weights.runs import LoadedModel

from .conftest import clip, export_video

FP32_TOLERANCE = 1e-5  # of the largest value
BF16_TOLERANCE = 5e-2  # of a random network; a trained one stays below 1e-2
INT8_TOLERANCE = 0.2


def distance(got: Tensor, want: Tensor) -> float:
    assert got.shape == want.shape
    assert want.std() > 0
    return float((got - want).abs().max() / want.abs().max())


def streamed(network: object, frame: Tensor, state: object) -> tuple[Tensor, object]:
    assert isinstance(network, StreamingNetwork)
    assert isinstance(network, ClipNetwork)
    return network.advance(network.encode(frame[None]), state)


@pytest.mark.parametrize("size", [(28, 42), (56, 56), (70, 84)])
@torch.inference_mode()
def test_position_table_is_resampled_as_pytorch_does(
    video_model: LoadedModel, size: tuple[int, int]
) -> None:
    frames = clip(1, *size)
    got = portable(video_model.model).encode(frames)  # type: ignore[operator]
    want = video_model.model.encode(frames)  # type: ignore[operator]
    assert max(distance(a, b) for a, b in zip(got, want, strict=True)) < FP32_TOLERANCE


@pytest.mark.parametrize("time", [2, HEADS, 32])
@torch.inference_mode()
def test_attention_over_time_is_what_pytorch_computes(time: int) -> None:
    attention = TemporalAttention(32).eval()
    x = torch.randn(6, time, 32, generator=torch.Generator().manual_seed(0))
    assert distance(portable(attention)(x), attention(x)) < FP32_TOLERANCE


@pytest.mark.parametrize(("time", "size"), [(1, (56, 70)), (32, (42, 42))])
@torch.inference_mode()
def test_openvino_clips_of_any_size(
    video_model: LoadedModel, video_export: Path, time: int, size: tuple[int, int]
) -> None:
    exported = open_folder(video_export, threads=1).model
    assert isinstance(exported, ClipNetwork)
    frames = clip(time, *size)
    want = video_model.model.predict_clip(frames)  # type: ignore[operator]
    maps = exported.encode(frames)
    assert distance(exported.decode(maps), want) < FP32_TOLERANCE
    wanted = sorted({0, time // 2, time - 1})
    assert distance(exported.decode(maps, wanted), want[wanted]) < FP32_TOLERANCE


@torch.inference_mode()
def test_openvino_streams_beyond_its_memory(video_model: LoadedModel, video_export: Path) -> None:
    exported = open_folder(video_export, threads=1).model
    assert isinstance(exported, StreamingNetwork)
    state = own_state = None
    for frame in clip(45, 28, 42):
        got, state = streamed(exported, frame, state)
        want, own_state = streamed(video_model.model, frame, own_state)
        assert distance(got, want) < FP32_TOLERANCE


def test_parity_report_covers_clips_and_streams(
    video_model: LoadedModel, video_export: Path
) -> None:
    found = measure(video_model, open_folder(video_export, threads=1), (56, 56))
    assert found.rendered.relative < FP32_TOLERANCE
    assert found.streamed is not None
    assert found.streamed.relative < FP32_TOLERANCE


@torch.inference_mode()
def test_openvino_streams_the_same_while_it_encodes_ahead(video_export: Path) -> None:
    exported = open_folder(video_export).model
    assert isinstance(exported, ConcurrentNetwork)
    frames = list(clip(3, 28, 42))
    alone, beside = list[Tensor](), list[Tensor]()
    with exported.encoding_ahead():
        state = None
        for frame in frames:
            depth, state = streamed(exported, frame, state)
            beside.append(depth)
    state = None
    for frame in frames:
        depth, state = streamed(exported, frame, state)
        alone.append(depth)
    assert distance(torch.cat(beside), torch.cat(alone)) < FP32_TOLERANCE


@torch.inference_mode()
def test_precisions_of_one_conversion_do_not_mix(
    video_model: LoadedModel, video_export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One conversion serves both precisions; here it is the export that is there already.
    monkeypatch.setattr("endodav.backends.convert._conversion", lambda *_: video_export)
    frames = clip(HEADS, 56, 56)  # axes of equal length, which OpenVINO's own attention mixes up
    want = video_model.model.predict_clip(frames)  # type: ignore[operator]
    for precision, tolerance in (("fp32", FP32_TOLERANCE), ("bf16", BF16_TOLERANCE)):
        outside = run_outside(video_model, "openvino", precision, threads=1)
        got = outside.model.predict_clip(frames)  # type: ignore[operator]
        assert distance(got, want) < tolerance
        assert outside.meta.settings["precision"] == precision


@torch.inference_mode()
def test_onnx_images(image_model: LoadedModel, image_export: Path) -> None:
    exported = open_folder(image_export, threads=1)
    assert not isinstance(exported.model, StreamingNetwork)
    frames = clip(3, 56, 70)
    want = image_model.model.predict_clip(frames)  # type: ignore[operator]
    assert distance(exported.model.predict_clip(frames), want) < FP32_TOLERANCE  # type: ignore[operator]
    assert exported.preset.preprocessing.input_size == 56


@pytest.mark.filterwarnings("ignore")  # NNCF's imports
@torch.inference_mode()
def test_int8_stays_close(image_model: LoadedModel, tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="the extra openvino is not installed")
    frames = clip(4, 28, 28)
    write_folder(image_model, tmp_path, "openvino", "int8", (28, 28), [frames])
    got = open_folder(tmp_path, threads=1).model.predict_clip(frames)  # type: ignore[operator]
    want = image_model.model.predict_clip(frames)  # type: ignore[operator]
    assert 0 < distance(got, want) < INT8_TOLERANCE


@torch.inference_mode()
def test_int8_stays_close_in_clips_and_streams(video_model: LoadedModel, tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="the extra openvino is not installed")
    export_video(tmp_path, "int8")
    exported = open_folder(tmp_path, threads=1).model
    assert isinstance(exported, StreamingNetwork)
    frames = clip(4, 56, 56)
    want = video_model.model.predict_clip(frames)  # type: ignore[operator]
    got = exported.decode(exported.encode(frames))
    assert 0 < distance(got, want) < INT8_TOLERANCE
    state = own_state = None
    for frame in frames:
        got, state = streamed(exported, frame, state)
        want, own_state = streamed(video_model.model, frame, own_state)
    assert 0 < distance(got, want) < INT8_TOLERANCE


def test_another_size_is_refused_by_name(image_export: Path) -> None:
    exported = open_folder(image_export).model
    with pytest.raises(RecipeError, match=r"inputs of 56x70 .*needs 42x70"):
        exported.encode(clip(1, 42, 70))  # type: ignore[operator]


def test_another_backend_is_refused(image_export: Path) -> None:
    with pytest.raises(RecipeError, match="for onnx or tensorrt, which openvino does not read"):
        open_folder(image_export, "openvino")


def test_tensorrt_needs_its_runtime(image_export: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "TensorrtExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("TensorRT is here")
    with pytest.raises(RecipeError, match="no TensorrtExecutionProvider"):
        open_folder(image_export, "tensorrt")


def test_damaged_and_missing_files(image_export: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(image_export, tmp_path / "copy")
    (folder / "decoder.onnx").write_bytes(b"not a graph")
    with pytest.raises(WeightsError, match=r"decoder\.onnx is damaged"):
        open_folder(folder)
    (folder / "decoder.onnx").unlink()
    with pytest.raises(WeightsError, match=r"lacks decoder\.onnx"):
        open_folder(folder)
    (folder / "model.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"model\.json is damaged"):
        open_folder(folder)


def test_impossible_precisions_and_sizes(image_model: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="onnx has no bf16"):
        write_folder(image_model, tmp_path, "onnx", "bf16")
    with pytest.raises(RecipeError, match="multiples of 14"):
        write_folder(image_model, tmp_path, "onnx", "fp32", (56, 71))
    with pytest.raises(RecipeError, match="calibrated first"):
        run_outside(image_model, "openvino", "int8")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_names_its_extra(
    image_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(RecipeError, match=r'pip install "endodav\[openvino\]"'):
        run_outside(image_model, "openvino", "fp32")
