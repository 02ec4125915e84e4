"""What INT8 is calibrated on has the size of the export."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from endodav.backends.convert import sized
from endodav.export.examples import filmed, through_field
from endodav.inference.preprocess import network_input
from endodav.models.presets import PRESETS
from endodav.synthetic.writer import write_video


@pytest.mark.parametrize("size", [(64, 80), (80, 64), None])
def test_a_video_of_any_shape_is_seen_at_the_size_of_the_export(tmp_path, size):
    write_video(np.zeros((2, 72, 160, 3), np.uint8), tmp_path / "wide.mp4", 25.0)
    preset = sized(PRESETS["endodav-tiny"], size)
    (example,) = filmed(preset, size, [tmp_path / "wide.mp4"])
    rows, columns = example.frames.shape[-2:]
    assert (rows, columns) == size if size else columns > 2 * rows


def test_a_small_field_is_black_around():
    preset = PRESETS["endodav-tiny"]
    white, black = (
        network_input(np.full((64, 80, 3), value, np.uint8), sized(preset, (64, 80)).preprocessing)
        for value in (255, 0)
    )
    seen = through_field(white[None], 0.25, preset)[0]
    inside = (seen == white).all(dim=0)
    torch.testing.assert_close(seen[:, ~inside], black[:, ~inside])
    assert inside.float().mean() == pytest.approx(np.pi * 16**2 / (64 * 80), rel=0.02)
    assert inside[32, 40]
    assert not inside[32, 60]
