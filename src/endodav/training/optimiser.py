"""Which parameters learn by which rule: AdamW for all, or Muon for matrices and AdamW for the rest.

AdamW scales each entry of a gradient by itself. Muon takes the momentum of a whole matrix and makes
its singular values alike, so that rare directions learn as fast as common ones (Jordan et al.,
"Muon: an optimizer for hidden layers in neural networks", 2024). PyTorch's own takes no kernels of
convolutions, and a depth head is made of little else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from endodav.training.recipe import OptimiserRecipe

# Of a quintic that brings singular values near 1 in five steps (Jordan et al. 2024).
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
TINY = 1e-7  # keeps a gradient of zeros from dividing
# A root mean square like that of AdamW's changes, so that rates mean the same (Liu et al., "Muon is
# scalable for LLM training", 2025).
ADAMW_RMS = 0.2
FEWEST_ROWS = 16  # of a matrix; what makes one number of many is no matrix


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised, with Nesterov's look ahead and decoupled weight decay.

    Args:
        weights: of linear and convolutional layers; each is a matrix with a row for each output.
        weight_decay: share of a weight, times the learning rate, that it loses in a step.
        pace: learning rate as a multiple of what is set.
        momentum: share of the running mean that stays in a step.
    """

    def __init__(
        self, weights: Iterable[Tensor], weight_decay: float, pace: float, momentum: float = 0.95
    ) -> None:
        defaults = {"lr": 0.0, "weight_decay": weight_decay, "pace": pace, "momentum": momentum}
        super().__init__(weights, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Change all weights that have a gradient; `closure` must be None."""
        assert closure is None
        for group in self.param_groups:
            keep, shrink = group["momentum"], 1 - group["lr"] * group["weight_decay"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["mean"] = torch.zeros_like(weight)
                mean = state["mean"].lerp_(weight.grad, 1 - keep)
                matrix = weight.grad.lerp(mean, keep).flatten(1)
                size = ADAMW_RMS * max(matrix.shape) ** 0.5
                change = orthogonalised(matrix).view_as(weight)
                weight.mul_(shrink).sub_(change, alpha=group["lr"] * size)


def orthogonalised(matrix: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    """The matrix with all singular values between about 0.7 and 1.2, in place of its own.

    Each iteration applies an odd polynomial to the singular values; bfloat16 is precise enough.
    """
    wide = matrix.shape[0] <= matrix.shape[1]
    x: Tensor = (matrix if wide else matrix.mT).bfloat16()
    x = x / (torch.linalg.matrix_norm(x) + TINY)
    first, third, fifth = QUINTIC
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = first * x + (third * square + fifth * square @ square) @ x
    return (x if wide else x.mT).type_as(matrix)


def optimisers_of(model: nn.Module, recipe: OptimiserRecipe) -> tuple[torch.optim.Optimizer, ...]:
    """What changes the model's trainable parameters; each belongs to one group.

    Norms, biases, LayerScale and the tables of tokens and positions have no reason to be small, so
    they do not decay. A group's "pace" is its learning rate as a multiple of the recipe's.
    """
    weights = [
        module.weight
        for module in model.modules()
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
        and module.weight.requires_grad
    ]
    muon = [w for w in weights if recipe.rule == "muon" and len(w) >= FEWEST_ROWS]
    by_muon, decaying = ({id(w) for w in group} for group in (muon, weights))
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in by_muon]
    decay = recipe.weight_decay
    adamw = torch.optim.AdamW(
        [
            {"params": [p for p in rest if id(p) in decaying], "weight_decay": decay, "pace": 1.0},
            {"params": [p for p in rest if id(p) not in decaying], "weight_decay": 0, "pace": 1.0},
        ],
        lr=recipe.learning_rate,
        fused=True,
    )
    return (adamw, Muon(muon, weight_decay=decay, pace=recipe.muon_pace)) if muon else (adamw,)


def set_rate(optimisers: Iterable[torch.optim.Optimizer], rate: float) -> None:
    """Let every group learn at `rate` times its pace."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate * group["pace"]
