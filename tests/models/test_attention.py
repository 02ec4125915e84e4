"""Attention is softmax attention, whichever way it is computed."""

from __future__ import annotations

import math

import pytest
import torch

from endodav.models import attention
from endodav.models.attention import attend


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_ways_are_softmax_attention(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 7, 16, generator=generator).to(dtype) for _ in range(3))
    scores = torch.einsum("bhqd,bhkd->bhqk", q.double(), k.double()) / math.sqrt(16)
    expected = torch.einsum("bhqk,bhkd->bhqd", scores.softmax(-1), v.double())
    for long in (0, 1000):  # fused, and written out where that is faster
        monkeypatch.setattr(attention, "LONG", long)
        error = (attend(q, k, v).double() - expected).abs().max()
        assert error < (1e-5 if dtype == torch.float32 else 3e-2)
