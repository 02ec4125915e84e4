"""Sizes and values of what networks see; the official numbers are in the golden items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from endodav.errors import RecipeError
from endodav.inference.preprocess import network_input, network_size, resize_bicubic
from endodav.models.presets import PRESETS

VDA = PRESETS["video-depth-anything-small"].preprocessing
ENDODAV = PRESETS["endodav-small"].preprocessing
DAV2 = PRESETS["depth-anything-v2-small"].preprocessing


@pytest.mark.parametrize(
    ("preprocessing", "height", "width", "input_size", "want"),
    [
        (VDA, 720, 1280, None, (518, 924)),
        (VDA, 436, 1024, None, (392, 924)),  # wider than 16:9
        (VDA, 480, 640, 100, (112, 140)),
        (VDA, 2, 2, None, (518, 518)),
        (VDA, 4320, 7680, None, (518, 924)),
        (VDA, 1, 4000, None, (14, 56000)),  # the official program divides by zero
        (DAV2, 436, 1024, None, (518, 1218)),  # no ratio rule
        (ENDODAV, 512, 640, None, (224, 280)),
        (ENDODAV, 720, 1280, None, (224, 392)),
    ],
)
def test_network_size(preprocessing, height, width, input_size, want):
    assert network_size(height, width, preprocessing, input_size) == want


def test_sizes_that_cannot_be():
    with pytest.raises(RecipeError, match="smaller than one patch"):
        network_size(100, 100, VDA, 13)
    with pytest.raises(RecipeError, match="leave the input size out"):
        network_size(100, 100, ENDODAV, 224)


def test_bicubic_keeps_its_overshoot():
    step = torch.zeros(1, 8, 8)
    step[..., 4:] = 1.0
    resized = resize_bicubic(step, (16, 16))
    assert resized.max() > 1.01
    assert resized.min() < -0.01


def test_a_frame_of_the_right_size_stays_as_it_is():
    image = torch.rand(3, 9, 11)
    assert torch.equal(resize_bicubic(image, (9, 11)), image)


def test_normalisation_is_per_channel():
    image = np.full((28, 28, 3), (255, 0, 128), np.uint8)
    got = network_input(image, replace(VDA, input_size=28))
    want = [(1 - 0.485) / 0.229, -0.456 / 0.224, (128 / 255 - 0.406) / 0.225]
    assert got.shape == (3, 28, 28)
    np.testing.assert_allclose(got[:, 3, 5], want, rtol=1e-5)


def test_endoscopic_networks_get_plain_rgb():
    image = np.full((100, 120, 3), 51, np.uint8)
    got = network_input(image, ENDODAV)
    assert got.shape == (3, 238, 280)
    np.testing.assert_allclose(got, 0.2, rtol=1e-5)


def test_read_only_frames_are_fine():
    image = np.zeros((20, 20, 3), np.uint8)
    image.flags.writeable = False
    assert network_input(image, VDA, 28).shape == (3, 28, 28)
