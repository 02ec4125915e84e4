"""AF-SfMLearner's own network is one of the depth networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from endodav.inference.estimator import DepthEstimator
from endodav.models.depth import build
from endodav.models.presets import PRESETS
from endodav.weights.runs import save_model

PRESET = replace(
    PRESETS["af-sfm"],
    preprocessing=replace(PRESETS["af-sfm"].preprocessing, image_shape=(64, 96)),
)


def test_each_frame_is_seen_by_itself() -> None:
    torch.manual_seed(0)
    network = build(PRESET).eval()
    frames = torch.rand(2, 3, 70, 90)
    with torch.no_grad():
        both, first = network.predict_clip(frames), network.predict_clip(frames[:1])
        finest = network(frames)[0][:, 0]
    assert both.shape == (2, 64, 96)
    torch.testing.assert_close(both[:1], first)
    assert torch.equal(both, finest)
    assert 0 < float(both.min()) < float(both.max()) < 1


def test_a_run_without_a_base_is_a_model(tmp_path) -> None:
    save_model(tmp_path / "model.safetensors", build(PRESET), PRESET)
    estimator = DepthEstimator.from_pretrained(tmp_path)
    depth = estimator.predict(np.zeros((2, 50, 60, 3), np.uint8))
    assert depth.shape == (2, 50, 60)
    assert estimator.meta.settings["strategy"] == "independent"
