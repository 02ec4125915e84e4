"""Compiled networks are the same networks; what is translated when, and what is said where not."""

from __future__ import annotations

from functools import partial

import jaxtyping
import numpy as np
import pytest
import torch
from torch import nn
from torch._dynamo.exc import BackendCompilerFailed

from endodav.errors import RecipeError
from endodav.inference.compiled import Stage, compiled
from endodav.inference.engine import DepthEngine
from endodav.inference.estimator import DepthEstimator
from endodav.inference.predictor import ClipNetwork, StreamingNetwork
from endodav.inference.settings import InferenceSettings
from endodav.inference.streaming import StreamingDepth
from endodav.inference.windows import PLANS
from endodav.models.depth import build

from .fakes import Luminance, frames_of, tiny_preset, video

SETTINGS = InferenceSettings(output_size="model")


@pytest.fixture(autouse=True)
def traced_only(monkeypatch: pytest.MonkeyPatch):
    """Traced, but not translated to machine code, which takes minutes.

    The tests' checks of array shapes cannot be traced.
    """
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    torch._dynamo.reset()


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    made = build(tiny_preset()).eval()
    for module in made.motion:
        nn.init.normal_(module.project_out.weight, std=0.1)
    return made


def test_windows_are_the_same(network: nn.Module):
    def depth(of: ClipNetwork) -> np.ndarray:
        engine = DepthEngine(of, tiny_preset(), PLANS["vda"].resized(8), SETTINGS)
        return np.stack([frame.values for frame in engine.run(frames_of(video(12)))])

    fast = compiled(network, "default")
    np.testing.assert_allclose(depth(fast), depth(network), rtol=1e-4, atol=1e-5)
    assert fast.warm_up_seconds > 0


def test_streams_are_the_same(network: nn.Module):
    def depth(of: ClipNetwork) -> np.ndarray:
        stream = StreamingDepth(of, tiny_preset(), SETTINGS)
        return np.stack([frame.values for frame in stream.run(frames_of(video(4)))])

    np.testing.assert_allclose(
        depth(compiled(network, "default")), depth(network), rtol=1e-4, atol=1e-5
    )


def test_networks_of_images_do_not_stream():
    assert not isinstance(compiled(Luminance(), "default"), StreamingNetwork)


def test_only_first_calls_count_as_warm_up():
    stage = Stage(lambda x: 2 * x, "default")
    stage(torch.ones(2))
    first = stage.seconds
    stage(torch.ones(2))
    assert stage.seconds == first > 0
    stage(torch.ones(3))
    assert stage.seconds > first


def test_what_cannot_be_is_said(monkeypatch: pytest.MonkeyPatch, network: nn.Module):
    with pytest.raises(RecipeError, match="choose from none, default, cuda-graphs"):
        compiled(network, "fast")
    with pytest.raises(RecipeError, match="CUDA graphs need a CUDA device"):
        compiled(network, "cuda-graphs")

    def no_compiler(function: object, **_: object):
        def run(*_: object) -> None:
            raise BackendCompilerFailed(no_compiler, RuntimeError("no g++"), None)

        return run

    monkeypatch.setattr(torch, "compile", no_compiler)
    with pytest.raises(RecipeError, match=r"install a C\+\+ compiler"):
        compiled(network, "default").encode(torch.zeros(1, 3, 32, 32))


def test_an_estimator_is_compiled_and_says_so():
    estimator = DepthEstimator.from_pretrained("endodav-tiny", compile="default", input_size=32)
    assert estimator.meta.settings["compile"] == "default"
    assert estimator.warm_up_seconds == 0
    assert DepthEstimator.from_pretrained("endodav-tiny").warm_up_seconds is None
    with pytest.raises(RecipeError, match="Only PyTorch's networks can be compiled"):
        DepthEstimator.from_pretrained("endodav-tiny", backend="openvino", compile="default")
