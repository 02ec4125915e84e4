"""Laws of the adapters: neutral at the start, merged equals unmerged, and small."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from endodav.models.adapters import (
    KINDS,
    AdaptedLinear,
    adapt,
    adapted_layers,
    adapter_state,
    merge,
    train_only,
    tuned_adapters,
)
from endodav.models.depth import EndoDAV, build
from endodav.models.presets import PRESETS, AdapterConfig, EncoderConfig, HeadConfig, OutputConfig

ALL = sorted(KINDS)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"first": nn.Linear(6, 10), "second": nn.Linear(10, 4)})


def run(model: nn.Module) -> torch.Tensor:
    x = torch.linspace(-1, 1, 18).view(3, 6)
    return model["second"](model["first"](x).relu())


def randomise_adapters(model: nn.Module) -> None:
    with torch.no_grad():
        for _, layer in adapted_layers(model):
            for parameter in layer.adapter.parameters():
                parameter.normal_()


@pytest.mark.parametrize("kind", ALL)
def test_a_new_adapter_changes_nothing(kind: str) -> None:
    model = network()
    bare = run(model)
    adapt(model, ("first", "second"), AdapterConfig(kind))
    torch.testing.assert_close(run(model), bare)


@pytest.mark.parametrize("kind", ALL)
def test_merged_is_unmerged(kind: str) -> None:
    model = network()
    adapt(model, ("first", "second"), AdapterConfig(kind, rank=2, scale=0.5))
    bare = run(model)
    randomise_adapters(model)
    adapted = run(model)
    assert not torch.allclose(adapted, bare)
    merge(model)
    assert all(type(module) is nn.Linear for module in model.children())
    assert torch.equal(run(model), adapted)


def test_merging_a_whole_network() -> None:
    encoder = EncoderConfig(width=48, depth=4, heads=3, taps=(0, 1, 2, 3), image_size=28)
    head = HeadConfig(features=32, out_channels=(8, 8, 32, 32))
    config = AdapterConfig("ssb", temporal=True)
    torch.manual_seed(0)
    model = EndoDAV(encoder, head, (28, 28), OutputConfig("pyramid"), config).eval()
    assert len(list(adapted_layers(model))) == 4 * 2 + 4
    assert adapter_state(model).keys() == {k for k in model.state_dict() if ".adapter." in k}
    with torch.no_grad():
        for parameter in adapter_state(model).values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    clip = torch.rand(1, 2, 3, 20, 20)
    with torch.inference_mode():
        adapted = model(clip)
        merge(model)
        merged = model(clip)
    assert not adapter_state(model)
    assert all(torch.equal(a, b) for a, b in zip(adapted, merged, strict=True))


def test_low_rank_rules() -> None:
    """W + s (V * B)(U * A), and B * W * A, by hand."""
    weight = torch.arange(6.0).view(2, 3)
    vector = KINDS["dvlora"](AdapterConfig("dvlora", rank=1, scale=2.0), 3, 2)
    values = {
        "A": torch.tensor([[1.0, 2.0, 3.0]]),
        "B": torch.tensor([[1.0], [2.0]]),
        "U": torch.tensor([[5.0]]),
        "V": torch.tensor([[1.0], [10.0]]),
    }
    vector.load_state_dict(values)
    by_hand = weight + 2 * torch.tensor([[5.0, 10.0, 15.0], [100.0, 200.0, 300.0]])
    assert torch.equal(vector(weight), by_hand)
    gains = KINDS["ssb"](AdapterConfig("ssb"), 3, 2)
    gains.load_state_dict({"A": torch.tensor([[1.0], [2.0], [3.0]]), "B": values["V"]})
    assert torch.equal(gains(weight), torch.tensor([[0.0, 2.0, 6.0], [30.0, 80.0, 150.0]]))


@pytest.mark.parametrize(
    ("kind", "warm_up", "factors"),
    [
        ("lora", True, "AB"),
        ("lora", False, "AB"),
        ("dvlora", True, "AB"),
        ("dvlora", False, "UV"),
        ("rvlora", True, "AB"),
        ("rvlora", False, "AB"),
        ("ssb", True, "AB"),
        ("ssb", False, "AB"),
    ],
)
def test_what_trains_in_which_phase(kind: str, warm_up: bool, factors: str) -> None:
    model = network()
    adapt(model, ("first",), AdapterConfig(kind))
    train_only(model, tuned_adapters(model, warm_up))
    tuned = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert tuned == {f"first.adapter.{factor}" for factor in factors}
    assert isinstance(model["first"], AdaptedLinear)


def test_adapters_of_vit_small_are_a_small_file() -> None:
    with torch.device("meta"):
        model = build(PRESETS["endodav-small"])
    assert sum(tensor.numel() for tensor in adapter_state(model).values()) == 49_600
