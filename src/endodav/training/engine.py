"""Where a run computes: its device, its precision and its processes, by Lightning Fabric.

Gradients are averaged here and not by a wrapper of the networks: in an adaptation, who learns
changes from phase to phase, and a phase calls parts of networks as well as whole ones.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import torch
from torch import Tensor, nn

from endodav.errors import RecipeError
from endodav.inference.settings import AUTO, choose_device

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
PATIENCE = timedelta(days=1)  # of processes that wait for the first to look, render or evaluate


@dataclass(frozen=True)
class Engine:
    """One process of a run, and what it does together with the others.

    Attributes:
        fabric: a launched `lightning_fabric.Fabric`.
    """

    fabric: Any

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return cast(torch.device, self.fabric.device)

    @property
    def processes(self) -> int:
        """How many there are."""
        return cast(int, self.fabric.world_size)

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return cast(int, self.fabric.global_rank)

    @property
    def writes(self) -> bool:
        """Whether this process writes files and speaks: one has to."""
        return self.rank == 0

    @property
    def scales(self) -> bool:
        """Whether losses are scaled up, so that fp16 has room for their gradients."""
        return getattr(self.fabric.strategy.precision, "scaler", None) is not None

    def writer_first(self) -> AbstractContextManager[None]:
        """A context that the process that writes leaves before the others enter it."""
        return cast(AbstractContextManager[None], self.fabric.rank_zero_first())

    def wait(self) -> None:
        """Until all processes have come here."""
        self.fabric.barrier()

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to those there are."""
        self.fabric.backward(loss)

    def move(self, optimiser: torch.optim.Optimizer, max_norm: float) -> float:
        """Average gradients over the processes, shorten them and let the optimiser step.

        Gradients that are not finite move nothing in any process.

        Returns:
            The norm before it was shortened.
        """
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        self.average([p.grad for p in parameters if p.grad is not None])
        precision = self.fabric.strategy.precision
        precision.unscale_gradients(optimiser)
        norm = nn.utils.clip_grad_norm_(parameters, max_norm)
        if norm.isfinite() or self.scales:  # a scaler skips by itself, and learns from it
            precision.optimizer_step(optimiser)
        return norm.item()

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by their means over all processes, in one message."""
        own = [tensor.detach() for tensor in tensors]
        if self.processes == 1 or not own:
            return
        together = torch.cat([tensor.reshape(-1) for tensor in own])
        means = self.fabric.all_reduce(together, reduce_op="mean")
        for tensor, mean in zip(own, means.split([t.numel() for t in own]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def means(self, values: Sequence[float | Tensor]) -> list[float]:
        """Numbers as their means over all processes."""
        each = [torch.as_tensor(v, device=self.device, dtype=torch.float32) for v in values]
        together = torch.stack([value.detach() for value in each])
        self.average([together])
        return [float(value) for value in together.tolist()]

    def state(self) -> dict[str, Any]:
        """What a resumed run has to know: the scale of fp16's losses."""
        return cast(dict[str, Any], self.fabric.strategy.precision.state_dict())

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to such a state."""
        self.fabric.strategy.precision.load_state_dict(state)

    def lower_precision(self, network: nn.Module) -> None:
        """Let a network compute in the engine's precision, and answer in float32."""
        forward, fabric = network.forward, self.fabric

        def in_precision(*args: Any, **kwargs: Any) -> Any:
            with fabric.autocast():
                answer = forward(*args, **kwargs)
            return fabric.strategy.precision.convert_output(answer)

        network.forward = in_precision


def launch(device: str | torch.device = AUTO, precision: str = AUTO) -> Engine:
    """Join the processes that `torchrun` started, or be the only one; may be called again.

    Args:
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: "fp32", "bf16", "fp16", or "auto": bf16 on a GPU that has it, else fp32.

    Raises:
        RecipeError: there is no such device or precision, or they do not go together.
    """
    from lightning_fabric import Fabric  # seconds, which no other command has to wait
    from lightning_fabric.strategies.ddp import DDPStrategy

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    on = choose_device(str(device))
    chosen = choose_precision(precision, on)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
    if on.type == "mps" and processes > 1:
        raise RecipeError("Several processes cannot share mps; start one, or use --device cpu.")
    alone = processes == 1
    fabric = Fabric(
        accelerator=on.type,
        devices=[on.index or 0] if alone and on.type == "cuda" else here,
        num_nodes=processes // here,
        strategy="auto" if alone else DDPStrategy(timeout=PATIENCE),
        precision=PRECISIONS[chosen],  # type: ignore[arg-type]
    )
    fabric.launch()
    return Engine(fabric)


def choose_precision(name: str, device: torch.device) -> str:
    """The precision of that name; "auto" is bf16 where a GPU computes in it, else fp32.

    Raises:
        RecipeError: there is none, or the device cannot train in it.
    """
    if name == AUTO:
        has_it = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if has_it else "fp32"
    if name not in PRECISIONS:
        names = ", ".join((AUTO, *PRECISIONS))
        raise RecipeError(f"There is no precision '{name}'; choose from {names}.")
    if name == "fp16" and device.type != "cuda":
        raise RecipeError(f"fp16 trains on CUDA only, not on {device.type}; choose bf16 or fp32.")
    return name
