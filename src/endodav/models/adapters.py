"""Adapters of frozen linear layers, as one family: each is a rule W -> effective weight.

`F.linear(x, effective_weight, b)` is the forward pass of all of them, merging is replacing W, and a
checkpoint of the adapters alone is small.

    LoRA     W + s B A                  Hu et al. 2022
    DV-LoRA  W + s (V * B)(U * A)       EndoDAC: A, B train in a warm-up, afterwards only U, V
    RV-LoRA  W + s (V * B)(U * A)       EndoUFM: U, V stay at random values
    SSB      B * W * A                  scaling rows and columns; Si et al. 2024

A: [rank, in], B: [out, rank], U: [rank, 1], V: [out, 1]; for SSB A: [in, 1] and B: [out, 1].
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from endodav.models.presets import AdapterConfig


class LoRA(nn.Module):
    """W + s B A, with A random and B zero at the start."""

    def __init__(self, config: AdapterConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.scale = config.scale
        self.A = nn.Parameter(torch.empty(config.rank, inputs))
        self.B = nn.Parameter(torch.zeros(outputs, config.rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def forward(self, weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
        """The effective weight."""
        return weight + self.scale * (self.B @ self.A)

    def tuned(self, warm_up: bool) -> tuple[nn.Parameter, ...]:  # noqa: ARG002 - as all adapters
        """Both factors, always."""
        return self.A, self.B


class VectorLoRA(nn.Module):
    """W + s (V * B)(U * A): LoRA with a vector on each factor."""

    def __init__(self, config: AdapterConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.scale = config.scale
        self.A = nn.Parameter(torch.empty(config.rank, inputs))
        self.B = nn.Parameter(torch.zeros(outputs, config.rank))
        self.U = nn.Parameter(torch.ones(config.rank, 1))
        self.V = nn.Parameter(torch.ones(outputs, 1))
        self.vectors_train = config.kind == "dvlora"
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))
        if not self.vectors_train:
            nn.init.normal_(self.U)
            nn.init.normal_(self.V)

    def forward(self, weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
        """The effective weight."""
        return weight + self.scale * ((self.V * self.B) @ (self.U * self.A))

    def tuned(self, warm_up: bool) -> tuple[nn.Parameter, ...]:
        """The factors; for DV-LoRA the vectors instead, once it is warmed up."""
        if self.vectors_train and not warm_up:
            return self.U, self.V
        return self.A, self.B


class SSB(nn.Module):
    """B * W * A: a gain for each row and each column, ones at the start."""

    def __init__(self, config: AdapterConfig, inputs: int, outputs: int) -> None:  # noqa: ARG002 - as all adapters
        super().__init__()
        self.A = nn.Parameter(torch.ones(inputs, 1))
        self.B = nn.Parameter(torch.ones(outputs, 1))

    def forward(self, weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
        """The effective weight."""
        return self.B * weight * self.A.T

    def tuned(self, warm_up: bool) -> tuple[nn.Parameter, ...]:  # noqa: ARG002 - as all adapters
        """Both gains, always."""
        return self.A, self.B


KINDS: Mapping[str, type[LoRA | VectorLoRA | SSB]] = {
    "lora": LoRA,
    "dvlora": VectorLoRA,
    "rvlora": VectorLoRA,
    "ssb": SSB,
}


class AdaptedLinear(nn.Module):
    """A linear layer whose weight goes through an adapter."""

    def __init__(self, linear: nn.Linear, config: AdapterConfig) -> None:
        super().__init__()
        self.weight = linear.weight
        self.bias = linear.bias
        self.adapter = KINDS[config.kind](config, linear.in_features, linear.out_features)

    def forward(self, x: Float[Tensor, "*shape in"]) -> Float[Tensor, "*shape out"]:
        """Apply the layer with its effective weight."""
        return F.linear(x, self.adapter(self.weight), self.bias)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """A plain layer that computes the same."""
        outputs, inputs = self.weight.shape
        linear = nn.Linear(inputs, outputs, device="meta")
        linear.weight = nn.Parameter(self.adapter(self.weight).detach())
        linear.bias = self.bias
        return linear


def adapt(owner: nn.Module, names: tuple[str, ...], config: AdapterConfig) -> None:
    """Replace the linear layers `owner.<name>` by adapted ones with the same weights."""
    for name in names:
        setattr(owner, name, AdaptedLinear(getattr(owner, name), config))


def adapted_layers(model: nn.Module) -> Iterator[tuple[str, AdaptedLinear]]:
    """Every adapted layer of `model`, with its name, in the order of the network."""
    for name, module in model.named_modules():
        if isinstance(module, AdaptedLinear):
            yield name, module


def tuned_adapters(model: nn.Module, warm_up: bool) -> list[nn.Parameter]:
    """The parameters of the adapters in `model` that train, during the warm-up or after it."""
    return [p for _, layer in adapted_layers(model) for p in layer.adapter.tuned(warm_up)]


def merge(model: nn.Module) -> None:
    """Replace every adapted layer by the plain layer that computes the same; in place, for good."""
    for name, layer in list(adapted_layers(model)):
        owner, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(owner), attribute, layer.merged())


def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """The part of the state dict that belongs to the adapters."""
    return {
        f"{name}.adapter.{key}": value
        for name, layer in adapted_layers(model)
        for key, value in layer.adapter.state_dict().items()
    }


def train_only(model: nn.Module, parameters: list[nn.Parameter]) -> None:
    """Let exactly these parameters of `model` train, and freeze the others."""
    model.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
