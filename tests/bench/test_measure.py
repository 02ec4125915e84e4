"""Measurements count what they say: one window's frames, one window's arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from endodav.bench.measure import Config, count_gflop, measure, read_clip, to_and_fro
from endodav.synthetic.demo import PATH

CONFIG = Config("endodav-tiny", "torch", "fp32", (48, 32), PATH, device="cpu", stream_frames=3)


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return read_clip(PATH, CONFIG.size)


def test_a_clip_goes_to_and_fro_without_a_jump():
    frames = np.arange(4)
    seen = [int(frame) for frame, _ in zip(to_and_fro(frames), range(10), strict=False)]
    assert seen == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]


def test_arithmetic_is_that_of_new_frames_and_whole_windows(clip):
    """For 22 frames returned, 22 are encoded, and 32 mixed and decoded: all have a say."""
    estimator = CONFIG.load()
    network, prepared = estimator.loaded.model, torch.zeros(32, 3, 32, 48)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        maps = network.encode(prepared[:22])
    encoder = counter.get_total_flops()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network.decode([torch.cat([level, level[:10]]) for level in maps], range(32))
    decoder = counter.get_total_flops()
    assert count_gflop(estimator, clip) == pytest.approx((encoder + decoder) / 22 / 1e9, rel=1e-6)


def test_a_row_holds_what_was_found():
    row = measure(replace(CONFIG, repeats=5, formats=("npz",)))
    assert row.network_size == (32, 48)
    assert row.precision == "fp32"
    assert row.ms_a_frame.n == 5
    assert row.streaming_ms is not None
    assert row.streaming_ms.n == 3
    assert row.streaming_ms.p50 <= row.streaming_ms.p99
    assert row.gflops == pytest.approx(1000 * row.gflop_a_frame / row.ms_a_frame.median, abs=0.1)
    assert min(row.ms_a_frame.median, row.frames_per_second, row.peak_rss_mb) > 0
