"""Devices, precision and shares of the clips."""

from __future__ import annotations

import pytest
import torch

from endodav.errors import RecipeError
from endodav.training.adaptation.batch import VideoBatch
from endodav.training.adaptation.data import chunks, draw_batch, part_of
from endodav.training.adaptation.recipe import DataRecipe
from endodav.training.adaptation.run import Adaptation
from endodav.training.engine import choose_precision, launch

from .world import RECIPE, changed, wall

CPU = torch.device("cpu")


def clips(count: int = 1) -> VideoBatch:
    """Noise that moves by a pixel a frame."""
    noise = torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    frames = torch.stack([noise.roll(k, dims=-1) for k in range(4)], dim=1)
    return VideoBatch(frames, frames, torch.ones_like(frames[:, :, :1], dtype=torch.bool))


def test_precision_is_chosen_or_refused() -> None:
    assert choose_precision("auto", CPU) == "fp32"
    assert choose_precision("bf16", CPU) == "bf16"
    with pytest.raises(RecipeError, match="CUDA only"):
        choose_precision("fp16", CPU)
    with pytest.raises(RecipeError, match="auto, fp32, bf16, fp16"):
        choose_precision("fp8", CPU)


@pytest.mark.usefixtures("narrow_networks")
def test_networks_in_bf16_answer_in_fp32_and_nearly_the_same() -> None:
    exact, rough = (
        Adaptation.of(RECIPE, launch("cpu", precision)) for precision in ("fp32", "bf16")
    )
    seen = []
    rough.start.networks.flow.encoder.register_forward_hook(lambda *a: seen.append(a[2][0].dtype))
    for run in (exact, rough):
        run.step(clips())
    assert seen[0] == torch.bfloat16
    assert all(
        value.dtype != torch.bfloat16 for value in rough.start.networks.state_dict().values()
    )
    assert rough.last["flow/loss"] == pytest.approx(exact.last["flow/loss"], rel=0.05)
    assert rough.last["depth/loss"] == pytest.approx(exact.last["depth/loss"], rel=0.05)
    assert rough.last != exact.last


@pytest.mark.usefixtures("narrow_networks")
def test_clips_one_by_one_weigh_as_together() -> None:
    """Of the same clip twice, whether at once or one after the other."""
    twice = clips()
    twice = VideoBatch(*(torch.cat([v, v]) for v in (twice.frames, twice.augmented, twice.valid)))
    runs = []
    for at_once in (None, 1):
        recipe = changed(RECIPE, data={"clips": 2, "clips_at_once": at_once})
        runs.append(Adaptation.of(recipe, launch("cpu", "fp32")))
        runs[-1].step(twice)
    assert runs[0].last.keys() == runs[1].last.keys()
    for name, value in runs[0].last.items():
        # Rounding may put a pixel on the other side of a minimum, which gradients alone feel.
        allowed = 5e-3 if name.endswith("/norm") else 1e-3
        assert value == pytest.approx(runs[1].last[name], rel=allowed), name
    for name, value in runs[0].weights().items():
        if "running_mean" in name:
            torch.testing.assert_close(value, runs[1].weights()[name], rtol=1e-3, atol=1e-5)


def test_shares_are_equal_or_refused() -> None:
    shares = [part_of(rank, 3, DataRecipe(clips=6)) for rank in range(3)]
    assert [n for share in shares for n in range(6)[share]] == list(range(6))
    with pytest.raises(RecipeError, match="multiples of 4"):
        part_of(0, 4, DataRecipe(clips=6))


def test_processes_draw_together_what_one_draws_alone(tmp_path) -> None:
    footage, data = wall(tmp_path / "images", 12), DataRecipe(size=(64, 64), targets=2, clips=4)
    alone = draw_batch(footage, data, seed=3, step=7)
    parts = [draw_batch(footage, data, 3, 7, part_of(rank, 2, data)) for rank in range(2)]
    assert torch.equal(alone.augmented, torch.cat([part.augmented for part in parts]))
    pieces = chunks(alone, 3)
    assert [len(piece.frames) for piece in pieces] == [3, 1]
    assert torch.equal(alone.valid, torch.cat([piece.valid for piece in pieces]))
