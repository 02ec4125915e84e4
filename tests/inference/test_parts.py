"""A memory limit chooses the sizes of parts, and changes nothing else."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from endodav.errors import RecipeError
from endodav.inference import predictor
from endodav.inference.engine import DepthEngine
from endodav.inference.parts import Parts, costs, parts_within
from endodav.inference.settings import InferenceSettings
from endodav.inference.windows import PLANS
from endodav.models.depth import build
from endodav.models.presets import PRESETS

from .fakes import frames_of, tiny_preset, video

SMALL = PRESETS["video-depth-anything-small"]
NEEDED = costs(SMALL, 518, 518, 32)
GIB = 2**30


def spent(parts: Parts) -> int:
    """Bytes at the worst moment, without what is held."""
    assert parts.mixed is not None
    stages = (
        parts.encoded * NEEDED.encoded,
        parts.mixed * NEEDED.mixed,
        parts.finished * NEEDED.finished,
    )
    return 32 * NEEDED.frame + max(stages)


@given(limit=st.integers(GIB, 64 * GIB), held=st.integers(0, GIB))
def test_parts_stay_within_the_limit(limit: int, held: int):
    try:
        parts = parts_within(limit, held, NEEDED, 32)
    except RecipeError:
        assert limit < 2.5 * GIB
    else:
        assert held + spent(parts) <= limit
        assert min(parts) >= 1


def test_more_memory_never_makes_smaller_parts():
    chosen = [parts_within(gib * GIB, GIB // 2, NEEDED, 32) for gib in (2, 3, 4, 8)]
    for smaller, larger in itertools.pairwise(chosen):
        assert all(a <= b for a, b in zip(smaller, larger, strict=True))


def test_the_limit_that_is_asked_for_is_enough():
    with pytest.raises(RecipeError, match="too low; allow") as caught:
        parts_within(1, GIB, NEEDED, 32)
    least = int(str(caught.value).split("allow ")[1].split(" MiB")[0])
    assert min(parts_within(least * 2**20, GIB, NEEDED, 32)) >= 1


def test_parts_change_nothing(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    preset, images = tiny_preset(), video(40)
    network = build(preset).eval()
    for module in network.motion:
        torch.nn.init.normal_(module.project_out.weight, std=0.1)

    def depth(limit: int | None) -> np.ndarray:
        settings = InferenceSettings(output_size="model", memory_limit=limit)
        engine = DepthEngine(network, preset, PLANS["vda"], settings)
        return np.stack([frame.values for frame in engine.run(frames_of(images))])

    want = depth(None)
    monkeypatch.setattr(predictor, "parts_within", lambda *_: Parts(1, 1, 1))
    got = depth(GIB)
    assert network.head.frames_at_once == 1
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * np.abs(want).max())


def test_a_limit_that_is_too_low_is_refused():
    preset = tiny_preset()
    engine = DepthEngine(build(preset), preset, PLANS["vda"], InferenceSettings(memory_limit=1))
    with pytest.raises(RecipeError, match="memory limit of 0 MiB is too low"):
        next(engine.run(frames_of(video(2))))
