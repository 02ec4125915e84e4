"""Convolutional building blocks that more than one network uses."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ResidualUnit(nn.Module):
    """Two pre-activated 3x3 convolutions, added to the input."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(
        self, x: Float[Tensor, "batch features rows columns"]
    ) -> Float[Tensor, "batch features rows columns"]:
        """Refine the map."""
        out: Tensor = x + self.conv2(F.relu(self.conv1(F.relu(x))))
        return out
