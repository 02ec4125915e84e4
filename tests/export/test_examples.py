"""What INT8 is calibrated on has the size of the export."""

from __future__ import annotations

import numpy as np
import pytest

from endodav.backends.convert import sized
from endodav.export.examples import filmed
from endodav.models.presets import PRESETS
from endodav.synthetic.writer import write_video


@pytest.mark.parametrize("size", [(64, 80), (80, 64), None])
def test_a_video_of_any_shape_is_seen_at_the_size_of_the_export(tmp_path, size):
    write_video(np.zeros((2, 72, 160, 3), np.uint8), tmp_path / "wide.mp4", 25.0)
    preset = sized(PRESETS["endodav-tiny"], size)
    (example,) = filmed(preset, size, [tmp_path / "wide.mp4"])
    rows, columns = example.frames.shape[-2:]
    assert (rows, columns) == size if size else columns > 2 * rows
