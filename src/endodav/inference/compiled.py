"""A network whose stages `torch.compile` has translated, on a GPU into CUDA graphs if asked to.

Translation happens when a stage first meets inputs of some size, and takes minutes; it is worth it
where many frames follow. The result is the network's, to rounding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch._dynamo.exc import BackendCompilerFailed
from torch._inductor.exc import InductorError
from torch.utils._pytree import tree_leaves, tree_map

from endodav.errors import RecipeError
from endodav.inference.predictor import DivisibleNetwork, StreamingNetwork
from endodav.inference.settings import NOT_COMPILED
from endodav.models.temporal import FrameEntry, TemporalState

DEFAULT, CUDA_GRAPHS = "default", "cuda-graphs"
MODES = {DEFAULT: None, CUDA_GRAPHS: "reduce-overhead"}  # by choice, what PyTorch calls it


class Stage:
    """A function of tensors, translated for each of their sizes.

    Args:
        function: of tensors, or of lists and tuples of them.
        choice: a name of `MODES`.

    Attributes:
        seconds: taken by first calls, which translate.
    """

    def __init__(self, function: Callable[..., Any], choice: str) -> None:
        self._run = torch.compile(function, dynamic=False, mode=MODES[choice])
        self._graphs = choice == CUDA_GRAPHS
        self._known: set[tuple[torch.Size, ...]] = set()
        self.seconds = 0.0

    def __call__(self, *inputs: Any) -> Any:
        """What the function gives.

        Raises:
            RecipeError: it cannot be translated here.
        """
        sizes = tuple(x.shape for x in tree_leaves(inputs))
        begun = time.perf_counter()
        try:
            found = self._called(inputs)
        except (BackendCompilerFailed, InductorError) as error:
            raise RecipeError(
                "torch.compile cannot translate the network here; install a C++ compiler (g++),"
                " and on a GPU Triton, or leave --compile out."
            ) from error
        if sizes not in self._known:
            self._known.add(sizes)
            self.seconds += time.perf_counter() - begun
        return found

    def _called(self, inputs: tuple[Any, ...]) -> Any:
        if not self._graphs:
            return self._run(*inputs)
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        # A graph writes its results to the same memory every time.
        return tree_map(torch.clone, self._run(*inputs))


class CompiledNetwork(nn.Module):
    """Stands wherever the network does.

    Args:
        network: of `endodav.models.depth`.
        choice: a name of `MODES`.
    """

    def __init__(self, network: nn.Module, choice: str) -> None:
        super().__init__()
        self.network = network.eval()
        own = cast(Any, network)
        self._stages = {"encode": Stage(own.encode, choice), "decode": Stage(own.decode, choice)}

    @property
    def warm_up_seconds(self) -> float:
        """Taken by translation so far, and by the calls that waited for it."""
        return sum(stage.seconds for stage in self._stages.values())

    def encode(
        self, frames: Float[Tensor, "frames 3 height width"]
    ) -> list[Float[Tensor, "frames _ _ _"]]:
        """What each frame gives by itself."""
        return cast(list[Tensor], self._stages["encode"](frames))

    def decode(
        self, maps: list[Float[Tensor, "time _ _ _"]], wanted: Sequence[int] | None = None
    ) -> Float[Tensor, "wanted out_height out_width"]:
        """Depth of one clip; always computed of all frames, so that it is translated once."""
        depth: Tensor = self._stages["decode"](maps)
        return depth if wanted is None else depth[list(wanted)]

    def predict_clip(
        self, frames: Float[Tensor, "time 3 height width"]
    ) -> Float[Tensor, "time out_height out_width"]:
        """Depth of one clip."""
        return self.decode(self.encode(frames))

    def work_in(self, pixels: int | None, frames: int) -> None:
        """How much is in flight at once, for networks that can choose."""
        if isinstance(self.network, DivisibleNetwork):
            self.network.work_in(pixels, frames)


class CompiledVideoNetwork(CompiledNetwork):
    """A network that also streams."""

    def __init__(self, network: nn.Module, choice: str) -> None:
        super().__init__(network, choice)
        self._stages["decode_next"] = Stage(self._decode_next, choice)

    def advance(
        self, maps: list[Float[Tensor, "batch _ _ _"]], state: TemporalState | None
    ) -> tuple[Float[Tensor, "batch out_height out_width"], TemporalState]:
        """Depth of the next frame of each stream, and the state for the one after it."""
        # One tensor for each attention: which of many are the same one would be compiled in.
        contexts = [] if state is None else list(state.contexts())
        depth, entry = self._stages["decode_next"](maps, contexts)
        return depth, TemporalState.after(state, entry)

    def _decode_next(self, maps: list[Tensor], contexts: list[Tensor]) -> tuple[Tensor, FrameEntry]:
        return cast(tuple[Tensor, FrameEntry], cast(Any, self.network).decode_next(maps, contexts))


def compiled(network: nn.Module, choice: str) -> CompiledNetwork:
    """The network, to be translated as it runs.

    Args:
        network: of `endodav.models.depth`.
        choice: "default", or "cuda-graphs" for a network on a CUDA device.

    Raises:
        RecipeError: there is no such choice, or no such device.
    """
    if choice not in MODES:
        known = ", ".join((NOT_COMPILED, *MODES))
        raise RecipeError(f"There is no way to compile called {choice!r}; choose from {known}.")
    if choice == CUDA_GRAPHS and not all(p.is_cuda for p in network.parameters()):
        raise RecipeError("CUDA graphs need a CUDA device; choose --compile default.")
    streams = isinstance(network, StreamingNetwork)
    return (CompiledVideoNetwork if streams else CompiledNetwork)(network, choice)
