"""What a user may choose about a run, apart from the strategy."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from endodav.errors import RecipeError
from endodav.inference.preprocess import at_least_a_patch

AUTO = "auto"
PRECISIONS = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}
OUTPUT_SIZES = ("source", "model")
NOT_COMPILED = "none"


@dataclass(frozen=True)
class InferenceSettings:
    """How networks are run and what size comes out.

    Attributes:
        precision: "auto" is fp16 on CUDA, as in the official programs, and fp32 elsewhere, where
            half precision is slower or less tested.
        input_size: shorter side of what the network sees, in pixels; None for the model's own.
        output_size: "source" (size of the frames), "model" (size of the network's map) or (width,
            height).
        memory_limit: bytes that the process may hold; None lets speed alone decide. The depth is
            the same.

    Raises:
        RecipeError: one of them is impossible.
    """

    precision: str = AUTO
    input_size: int | None = None
    output_size: str | tuple[int, int] = "source"
    memory_limit: int | None = None

    def __post_init__(self) -> None:
        if self.precision not in (AUTO, *PRECISIONS):
            names = ", ".join((AUTO, *PRECISIONS))
            raise RecipeError(f"There is no precision {self.precision!r}; choose from {names}.")
        if self.input_size is not None:
            at_least_a_patch(self.input_size)
        if isinstance(self.output_size, str) and self.output_size not in OUTPUT_SIZES:
            raise RecipeError(
                f"There is no output size {self.output_size!r}; "
                "choose source, model or a pair (width, height)."
            )
        if not isinstance(self.output_size, str) and min(self.output_size) < 1:
            raise RecipeError(
                f"An output of {self.output_size} pixels is empty; choose 1 x 1 or more."
            )

    def resolved_precision(self, device: torch.device) -> str:
        """The name of the precision that `device` is asked for."""
        if self.precision != AUTO:
            return self.precision
        return "fp16" if device.type == "cuda" else "fp32"

    def depth_size(self, frame: tuple[int, int], network_map: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the depth that comes out.

        Args:
            frame: rows and columns of the source frame.
            network_map: rows and columns of the network's depth map.
        """
        if isinstance(self.output_size, str):
            return frame if self.output_size == "source" else network_map
        width, height = self.output_size
        return height, width


def choose_device(name: str = AUTO) -> torch.device:
    """The device of that name; "auto" prefers CUDA, then MPS, then the CPU.

    Raises:
        RecipeError: there is no such device here.
    """
    kinds = {
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    available = [kind for kind, count in kinds.items() if count]
    if name == AUTO:
        return torch.device(available[0])
    numbered = [f"{kind}:{index}" for kind in available for index in range(kinds[kind])]
    if name not in (*available, *numbered):
        choice = ", ".join((AUTO, *available, *(n for n in numbered if not n.endswith(":0"))))
        raise RecipeError(f"There is no device {name!r} here; choose from {choice}.")
    return torch.device(name)
