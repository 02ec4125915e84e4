"""The Python API, with real and with known networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from endodav.errors import InputError, RecipeError, WeightsError
from endodav.inference.estimator import DepthEstimator, default_strategy
from endodav.inference.settings import InferenceSettings, choose_device
from endodav.inference.windows import PLANS
from endodav.models.depth import build
from endodav.models.presets import PRESETS
from endodav.types import DepthMeta
from endodav.video.source import open_source
from endodav.weights.checkpoint import write_safetensors
from endodav.weights.hub import LoadedModel

from .fakes import Luminance, tiny_preset, video


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of `endodav-tiny` with random weights."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(PRESETS["endodav-tiny"])
    write_safetensors(path, network.state_dict(), {})
    return path


def known(plan: str | None = "vda", **settings: object) -> DepthEstimator:
    """An estimator whose depth is luminance."""
    preset = tiny_preset()
    meta = DepthMeta(preset.kind, preset.units, preset.name, "0" * 64, "MIT", "here", "", "0")
    loaded = LoadedModel(Luminance().requires_grad_(False), preset, meta)
    chosen = None if plan is None else PLANS[plan]
    return DepthEstimator(loaded, chosen, InferenceSettings(**settings))  # type: ignore[arg-type]


def test_a_real_network_from_a_checkpoint(weights: Path):
    estimator = DepthEstimator.from_pretrained(
        "endodav-tiny", weights=weights, device="cpu", input_size=28, window=4
    )
    depth = estimator.predict(video(5))
    assert depth.shape == (5, 20, 24)
    assert depth.dtype == np.float32
    assert np.isfinite(depth).all()
    assert estimator.meta.settings | {
        "strategy": "anchored", "window": 4, "overlap": 1, "input_size": 28,
        "output_size": "source", "precision": "fp32", "device": "cpu",
    } == estimator.meta.settings  # fmt: skip


def test_a_real_network_streams(weights: Path):
    estimator = DepthEstimator.from_pretrained(
        "endodav-tiny", weights=str(weights), device="cpu", input_size=28, streaming=True
    )
    assert estimator.meta.settings["strategy"] == "streaming"
    got = estimator.predict(video(3))
    stream = estimator.stream()
    with open_source(video(3)) as source:
        np.testing.assert_array_equal(got, np.stack([stream.step(f).values for f in source]))


def test_predict_is_run():
    images = video(70)
    whole = known().predict(images)
    with open_source(images) as source:
        frames = [frame.values for frame in known().run(source)]
    np.testing.assert_array_equal(whole, np.stack(frames))
    np.testing.assert_array_equal(whole, known().predict(torch.from_numpy(images)))


def test_predict_takes_what_run_takes(tmp_path: Path, make_video):
    images = video(5)
    np.testing.assert_array_equal(known().predict(iter(images)), known().predict(images))
    make_video(tmp_path / "clip.mp4", count=20)
    assert len(known().predict(tmp_path / "clip.mp4")) == 20


def test_predict_wants_one_size():
    frames = [np.zeros((20, 24, 3), np.uint8), np.zeros((24, 20, 3), np.uint8)]
    with pytest.raises(InputError, match="one size"):
        known().predict(frames)
    assert known(output_size=(8, 6)).predict(frames).shape == (2, 6, 8)


@pytest.mark.parametrize("name", ["cpu:x", "cpu:7", "cuda:99", "abacus"])
def test_a_device_that_is_not_there_is_said(name: str):
    with pytest.raises(RecipeError, match="no device"):
        choose_device(name)


def test_an_output_beyond_memory_is_said():
    with pytest.raises(RecipeError, match="does not fit into the memory of cpu"):
        known(output_size=(10**7, 10**7)).predict(video(1))


def test_run_opens_what_open_source_opens(tmp_path: Path, make_video):
    make_video(tmp_path / "clip.mp4", count=4)
    frames = list(known().run(tmp_path / "clip.mp4"))
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert frames[0].values.shape == (48, 64)


def test_run_is_lazy():
    def endless():
        while True:
            yield video(1)[0]

    frames = known().run(endless())
    assert [next(frames).index for _ in range(30)] == list(range(30))


def test_runs_do_not_influence_each_other():
    estimator = known()
    images = video(40)
    np.testing.assert_array_equal(estimator.predict(images), estimator.predict(images))


def test_each_model_has_its_own_strategy():
    strategies = {name: default_strategy(preset) for name, preset in PRESETS.items()}
    assert strategies["video-depth-anything-large"] == "vda"
    assert strategies["endodav-tiny"] == strategies["endodav-small"] == "anchored"
    assert strategies["depth-anything-v2-small"] == strategies["endoufm-base"] == "independent"


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        (np.zeros((3, 8, 8, 3), np.float32), "uint8"),
        (np.zeros((8, 8, 3), np.uint8), "time, height, width, 3"),
        (np.zeros((0, 8, 8, 3), np.uint8), "no frames"),
    ],
)
def test_wrong_arrays_are_said(frames: np.ndarray, says: str):
    with pytest.raises(InputError, match=says):
        known().predict(frames)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"window": 40}, "choose at most 32"),
        ({"strategy": "best"}, "no strategy 'best'"),
        ({"precision": "fp8"}, "no precision 'fp8'"),
        ({"device": "tpu"}, "no device 'tpu'"),
        ({"streaming": True, "window": 16}, "Streaming has no windows"),
    ],
)
def test_impossible_options_are_said(weights: Path, options: dict[str, object], says: str):
    with pytest.raises(RecipeError, match=says):
        DepthEstimator.from_pretrained(
            "endodav-tiny", weights=weights, **({"device": "cpu"} | options)
        )


def test_unknown_models_are_said():
    with pytest.raises(WeightsError, match="no model"):
        DepthEstimator.from_pretrained("endodav-huge")


def test_auto_takes_what_is_there():
    kind = (
        "cuda"
        if torch.cuda.is_available()
        else "mps"
        if torch.backends.mps.is_available()
        else "cpu"
    )
    assert choose_device().type == kind
    assert InferenceSettings().resolved_precision(torch.device("cuda")) == "fp16"
    assert InferenceSettings().resolved_precision(torch.device("cpu")) == "fp32"


def test_the_description_names_a_network_without_parameters():
    assert known().meta.settings["device"] == "cpu"
    assert known(None).meta.settings["window"] is None


def test_replacing_the_settings_is_enough():
    estimator = replace(known(), settings=InferenceSettings(output_size=(6, 4)))
    assert estimator.predict(video(2)).shape == (2, 4, 6)
