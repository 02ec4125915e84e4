"""Who learns by which rule, and what Muon does to a matrix."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from endodav.models.depth import build
from endodav.models.presets import PRESETS
from endodav.training.optimiser import (
    ADAMW_RMS,
    FEWEST_ROWS,
    Muon,
    optimisers_of,
    orthogonalised,
    set_rate,
)
from endodav.training.recipe import OptimiserRecipe


def test_only_matrices_and_kernels_decay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Linear(4, 5))
    model.register_parameter("table", nn.Parameter(torch.zeros(1, 3, 4)))
    (adamw,) = optimisers_of(model, OptimiserRecipe(weight_decay=0.1))
    decaying, others = adamw.param_groups
    assert {id(p) for p in decaying["params"]} == {id(model[0].weight), id(model[2].weight)}
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert len(others["params"]) == 5


def test_every_trainable_parameter_has_one_rule() -> None:
    model = build(PRESETS["endodav-tiny"])
    model.get_submodule("encoder").requires_grad_(False)
    adamw, muon = optimisers_of(model, OptimiserRecipe(rule="muon"))
    changed = [p for o in (adamw, muon) for group in o.param_groups for p in group["params"]]
    assert len(changed) == len({id(p) for p in changed})
    assert {id(p) for p in changed} == {id(p) for p in model.parameters() if p.requires_grad}
    (matrices,) = (group["params"] for group in muon.param_groups)
    assert all(p.ndim in (2, 4) and len(p) >= FEWEST_ROWS for p in matrices)
    assert sum(p.numel() for p in matrices) > 0.95 * sum(p.numel() for p in changed)


def test_a_group_learns_at_its_pace() -> None:
    optimisers = optimisers_of(nn.Linear(20, 20), OptimiserRecipe(rule="muon", muon_pace=3.0))
    set_rate(optimisers, 0.25)
    rates = {type(o): {group["lr"] for group in o.param_groups} for o in optimisers}
    assert rates == {torch.optim.AdamW: {0.25}, Muon: {0.75}}


@pytest.mark.parametrize("shape", [(16, 16), (16, 50), (50, 16)])
def test_orthogonalised_has_like_singular_values_and_the_same_directions(
    shape: tuple[int, int],
) -> None:
    generator = torch.Generator().manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(shape[0], 16, generator=generator))
    right, _ = torch.linalg.qr(torch.randn(shape[1], 16, generator=generator))
    values = torch.logspace(0, -2, 16)
    found = orthogonalised(left @ values.diag() @ right.mT)
    gains = left.mT @ found @ right
    assert gains.diagonal().min() > 0.5
    assert gains.diagonal().max() < 1.4
    assert (gains - gains.diagonal().diag()).abs().max() < 0.1


def test_muon_changes_kernels_as_much_as_adamw_would() -> None:
    torch.manual_seed(0)
    kernels = nn.Conv2d(16, 32, 3, bias=False)
    before = kernels.weight.detach().clone()
    kernels.weight.grad = 1e-3 * torch.randn_like(before)
    muon = Muon([kernels.weight], weight_decay=0.0, pace=1.0)
    set_rate([muon], 0.01)
    muon.step()
    change = (kernels.weight - before).square().mean().sqrt().item()
    assert change == pytest.approx(0.01 * ADAMW_RMS, rel=0.25)


def test_muon_leaves_alone_what_has_no_gradient_and_decays_the_rest() -> None:
    idle, still = nn.Parameter(torch.ones(16, 16)), nn.Parameter(torch.ones(16, 16))
    still.grad = torch.zeros_like(still)
    muon = Muon([idle, still], weight_decay=0.5, pace=1.0)
    set_rate([muon], 0.1)
    muon.step()
    assert torch.equal(idle, torch.ones(16, 16))
    assert torch.allclose(still, torch.full((16, 16), 0.95))
