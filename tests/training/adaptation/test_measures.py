"""Measures without truth: zero where depth and motion are right, and never better for hiding."""

from __future__ import annotations

import pytest
import torch

from endodav.training.adaptation.batch import NEIGHBOURS, VideoBatch
from endodav.training.adaptation.measures import Belief, depth_disagreement, photometric

SIZE, LENGTH, DEPTH, FOCAL = 48, 3, 5.0, 40.0


def world(shift: float = 1.0) -> tuple[Belief, VideoBatch]:
    """A plane before a camera that moves sideways by `shift` pixels a frame, as it is."""
    noise = torch.rand(1, 3, 12, 24, generator=torch.Generator().manual_seed(0))
    wide = torch.nn.functional.interpolate(noise, (SIZE, 2 * SIZE), mode="bilinear")[0]
    frames = torch.stack([wide[..., k : k + SIZE] for k in range(LENGTH + 2)])[None]
    valid = torch.ones_like(frames[:, :, :1], dtype=torch.bool)
    K = torch.tensor([[FOCAL, 0, SIZE / 2], [0, FOCAL, SIZE / 2], [0, 0, 1]]).repeat(LENGTH, 1, 1)
    motions = {}
    for offset in NEIGHBOURS:
        motion = torch.eye(4).repeat(LENGTH, 1, 1)
        motion[:, 0, 3] = -offset * shift * DEPTH / FOCAL
        motions[offset] = motion
    depth = torch.full((LENGTH, SIZE, SIZE), DEPTH)
    return Belief(depth, K, motions, torch.zeros(())), VideoBatch(frames, frames, valid)


def test_the_truth_has_no_error() -> None:
    belief, batch = world()
    assert photometric(belief, batch) < 0.02
    assert depth_disagreement(belief, batch) < 0.05  # a column that leaves the image


@pytest.mark.parametrize("shift", [0.0, 3.0, 1000.0])
def test_another_motion_is_worse(shift: float) -> None:
    (right, batch), (wrong, _) = world(), world(shift)
    assert photometric(wrong, batch) > 2 * photometric(right, batch)
    if shift == 1000.0:
        assert depth_disagreement(wrong, batch) > 0.9


def test_depth_that_flickers_is_worse_whatever_its_scale() -> None:
    belief, batch = world()
    flicker = torch.tensor([1.0, 1.5, 1.0]).view(-1, 1, 1)
    unsteady = belief._replace(depth=belief.depth * flicker)
    far = unsteady._replace(
        depth=100 * unsteady.depth,
        motions={k: _scaled(T, 100.0) for k, T in belief.motions.items()},
    )
    assert depth_disagreement(unsteady, batch) > 0.3
    torch.testing.assert_close(
        depth_disagreement(far, batch), depth_disagreement(unsteady, batch), rtol=1e-3, atol=1e-4
    )


def _scaled(T: torch.Tensor, factor: float) -> torch.Tensor:
    T = T.clone()
    T[:, :3, 3] *= factor
    return T
