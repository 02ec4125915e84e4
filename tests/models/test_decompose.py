"""The decomposition networks of EndoUFM."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from endodav.models.decompose import AdjustNet, DecomposeDecoder
from endodav.models.presets import BASE_HEAD, SMALL_HEAD, HeadConfig
from endodav.weights.keymaps import Family, to_ours

KEYS = Path(__file__).parents[1] / "golden" / "data" / "keys"


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def small() -> DecomposeDecoder:
    return DecomposeDecoder((32,) * 4, HeadConfig(16, (8, 8, 8, 8)))


@pytest.mark.parametrize(
    ("keys", "family", "sizes"),
    [
        ("endoufm_decompose_decoder_small", "decompose_decoder", ((384,) * 4, SMALL_HEAD)),
        ("endoufm_decompose_decoder_base", "decompose_decoder", ((768,) * 4, BASE_HEAD)),
        ("endoufm_adjust_net", "adjust_net", ()),
    ],
)
def test_official_checkpoints_fit(
    keys: str, family: Family, sizes: tuple[tuple[int, int, int, int], HeadConfig] | tuple[()]
) -> None:
    listed = json.loads((KEYS / f"{keys}.json").read_text())["keys"]
    with torch.device("meta"):
        network: nn.Module = DecomposeDecoder(*sizes) if sizes else AdjustNet()
    official = to_ours({name: torch.empty(shape, device="meta") for name, shape in listed}, family)
    wanted = network.state_dict()
    assert {k: v.shape for k, v in official.items()} == {k: v.shape for k, v in wanted.items()}


@pytest.mark.parametrize("size", [(64, 96), (70, 98)])
def test_factors_have_the_size_of_the_image(size: tuple[int, int]) -> None:
    tokens = [torch.randn(2, 1 + 24, 32) for _ in range(4)]
    factors = small()(tokens, (4, 6), torch.rand(2, 3, *size))
    assert factors.reflectance.shape == (2, 3, *size)
    assert factors.light.shape == (2, 1, *size)
    assert all(x.min() >= 0 and x.max() <= 1 for x in factors)


def test_every_parameter_learns() -> None:
    decoder, adjust = small(), AdjustNet()
    tokens = [torch.randn(2, 24, 32) for _ in range(4)]
    reflectance, light = decoder(tokens, (4, 6), torch.rand(2, 3, 64, 96))
    change = adjust(reflectance * light)
    assert change.shape == (2, 1, 64, 96)
    (reflectance.sum() + light.sum() + change.sum()).backward()
    for network in (decoder, adjust):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
