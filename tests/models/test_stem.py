"""An encoder with a convolutional stem: fine maps from convolutions, coarse ones from the ViT."""

import pytest
import torch

from endodav.errors import InputError
from endodav.models.depth import VideoDepthAnything
from endodav.models.dinov2 import DinoV2
from endodav.models.presets import EncoderConfig, HeadConfig

ENCODER = EncoderConfig(
    width=24, depth=2, heads=2, taps=(0, 1), image_size=64, patch_size=16, stem=(8, 8, 16)
)
HEAD = HeadConfig(features=32, out_channels=(8, 16, 32, 32))


def test_taps_are_two_maps_and_two_lists_of_tokens() -> None:
    encoder = DinoV2(ENCODER)
    quarter, eighth, *tokens = encoder(torch.rand(2, 3, 48, 64))
    assert quarter.shape == (2, 8, 12, 16)
    assert eighth.shape == (2, 16, 6, 8)
    assert [t.shape for t in tokens] == [(2, 1 + 3 * 4, 24)] * 2
    assert encoder.widths == (8, 16, 24, 24)


def test_depth_has_the_size_of_the_image_and_streams() -> None:
    torch.manual_seed(0)
    model = VideoDepthAnything(ENCODER, HEAD).eval()
    clip = torch.rand(1, 3, 3, 48, 64)
    with torch.inference_mode():
        depth = model(clip)
        first, _ = model.advance(model.encode(clip[:, 0]), None)
    assert depth.shape == (1, 3, 48, 64)
    # fresh motion modules add nothing, so the first frame knows of no other
    torch.testing.assert_close(first, depth[:, 0])


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    model = VideoDepthAnything(ENCODER, HEAD)
    torch.nn.init.normal_(model.motion[0].project_out.weight)
    model(torch.rand(1, 2, 3, 48, 64)).sum().backward()
    stem = model.encoder.patch_embed
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in stem.parameters())


def test_sides_are_multiples_of_sixteen() -> None:
    with pytest.raises(InputError, match="multiples of 16"):
        DinoV2(ENCODER)(torch.rand(1, 3, 56, 56))
