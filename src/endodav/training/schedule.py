"""What changes over a run and is a function of how far it has come: learning rate and averaging."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from endodav.training.recipe import OptimiserRecipe


def learning_rate(recipe: OptimiserRecipe, step: int, progress: float) -> float:
    """Linear warm-up over steps, then half a cosine down to zero.

    Args:
        recipe: peak and length of the warm-up.
        step: of the optimiser, from 0.
        progress: share of the run that is done, 0 to 1.
    """
    warmup = min(1.0, (step + 1) / max(1, recipe.warmup_steps))
    return recipe.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


class AveragedWeights:
    """Exponential running average of a model's parameters and buffers.

    Early on the average would remember the random start, so its memory grows with the steps up to
    `decay`.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model's weights after optimiser step `step`, counted from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for average, value in self._pairs(model):
            if average.is_floating_point():
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(value)

    def load(self, state: dict[str, Tensor]) -> None:
        """Take over the averages of a checkpoint."""
        for name, value in state.items():
            self.state[name].copy_(value)

    def _pairs(self, model: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
        for name, value in model.state_dict().items():
            yield self.state[name], value
