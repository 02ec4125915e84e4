"""What holds for every test of inference."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


def torch_state() -> tuple[bool, ...]:
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.are_deterministic_algorithms_enabled(),
    )


@pytest.fixture(autouse=True)
def _no_global_state() -> Iterator[None]:
    """Inference leaves torch as it found it."""
    before = torch_state()
    yield
    assert torch_state() == before
