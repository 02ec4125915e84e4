"""Softmax attention, by whichever of PyTorch's ways is the fastest where it computes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

# Tokens from which on the matrix of all pairs is no longer small beside everything else.
LONG = 1024

Heads = Float[Tensor, "batch heads tokens channels"]


def attend(query: Heads, key: Heads, value: Heads) -> Heads:
    """softmax(Q K^T / sqrt(d)) V for each head.

    In bfloat16 on a CPU, PyTorch's fused kernel is slower than the three plain operations up to
    about a thousand tokens: twice for images of 224x280, and three to nine times with its gradient
    where 32 frames attend to each other (torch 2.15, AVX-512).
    """
    slow = query.device.type == "cpu" and query.dtype == torch.bfloat16
    if slow and query.shape[-2] < LONG:
        scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-2, -1)
        plain: Tensor = scores.softmax(dim=-1) @ value
        return plain
    return F.scaled_dot_product_attention(query, key, value)
