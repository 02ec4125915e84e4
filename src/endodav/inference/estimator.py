"""The Python API: a model by name, any video in, depth out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Float32

from endodav.backends.card import is_export
from endodav.backends.convert import BACKENDS, open_folder, run_outside
from endodav.errors import InputError, RecipeError
from endodav.inference.engine import DepthEngine
from endodav.inference.memory import memory_explained
from endodav.inference.predictor import device_of
from endodav.inference.settings import AUTO, NOT_COMPILED, InferenceSettings, choose_device
from endodav.inference.streaming import StreamingDepth
from endodav.inference.windows import WindowPlan, choose_plan
from endodav.models.presets import ModelPreset
from endodav.types import DepthFrame, DepthMeta, Source
from endodav.video.source import open_source
from endodav.weights.hub import LoadedModel, load
from endodav.weights.licences import admit

STREAMING = "streaming"
TORCH = "torch"


@dataclass(frozen=True)
class DepthEstimator:
    """A depth model ready to run; made by `from_pretrained`.

    Attributes:
        loaded: the network, its preset and what its weights say of themselves.
        plan: how long videos are cut into windows; None to stream, without looking ahead.
        settings: precision and sizes.

    Example:
        >>> import numpy as np
        >>> from endodav import DepthEstimator
        >>> estimator = DepthEstimator.from_pretrained("endodav-tiny", input_size=56)
        >>> estimator.predict(np.zeros((2, 60, 80, 3), np.uint8)).shape
        (2, 60, 80)
    """

    loaded: LoadedModel
    plan: WindowPlan | None
    settings: InferenceSettings = field(default_factory=InferenceSettings)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        weights: str | Path | None = None,
        device: str = AUTO,
        precision: str = AUTO,
        backend: str = TORCH,
        strategy: str | None = None,
        input_size: int | None = None,
        output_size: str | tuple[int, int] = "source",
        window: int | None = None,
        overlap: int | None = None,
        streaming: bool = False,
        memory_limit: int | None = None,
        compile: str = NOT_COMPILED,  # noqa: A002 - what PyTorch calls it
        permissive_only: bool = False,
        announce: Callable[[str], object] | None = None,
    ) -> DepthEstimator:
        """Load a model by name (see `endodav models`), from a training run folder or an export.

        Args:
            name_or_path: preset name, run folder, or folder that `endodav export` wrote.
            weights: a checkpoint of one's own (.pth or .safetensors) for that architecture.
            device: "auto" (CUDA, else MPS, else CPU), "cpu", "cuda", "cuda:1" or "mps".
            precision: "auto" (fp16 on CUDA, else fp32), "fp32", "fp16" or "bf16".
            backend: "torch", or what computes instead: "openvino", "onnx" or "tensorrt", for which
                the model is converted at its first use. An export brings its own.
            strategy: a name of `endodav.inference.windows.PLANS`; the model's own if not given.
            input_size: shorter side of what the network sees, in pixels; the model's own if not
                given.
            output_size: "source", "model" or (width, height) of the depth maps.
            window: frames a window; 32, or what the model allows, if not given.
            overlap: frames that neighbouring windows share; in proportion to the window if not
                given.
            streaming: one frame in, one depth out, without looking ahead; there are no windows
                then.
            memory_limit: bytes that the process may hold while it runs windows; the depth is the
                same, and comes more slowly. None lets speed alone decide.
            compile: "none"; "default" for `torch.compile`, "cuda-graphs" for that with CUDA graphs:
                the first windows take minutes, later ones less time than before.
            permissive_only: refuse weights that do not allow commercial use.
            announce: told licence and origin of the weights at their first use.

        Raises:
            WeightsError: the weights cannot be had, read or used.
            RecipeError: an option is impossible, for any model or for this one.
        """
        if streaming and (strategy, window, overlap) != (None, None, None):
            raise RecipeError(
                "Streaming has no windows; leave out strategy, window and overlap, or streaming."
            )
        if compile != NOT_COMPILED and (backend != TORCH or is_export(Path(name_or_path))):
            raise RecipeError("Only PyTorch's networks can be compiled; leave --compile out.")
        loaded = _load(
            Path(name_or_path),
            None if weights is None else Path(weights),
            backend=backend,
            precision=precision,
            device=device,
            permissive_only=permissive_only,
            announce=announce,
        )
        if compile != NOT_COMPILED:
            loaded = _compiled(loaded, compile)
        # What runs outside PyTorch has its own arithmetic, and hands over float32.
        own_precision = AUTO if "backend" in loaded.meta.settings else precision
        settings = InferenceSettings(own_precision, input_size, output_size, memory_limit)
        preset = loaded.preset
        if streaming:
            return cls(loaded, None, settings)
        name = strategy or default_strategy(preset)
        return cls(loaded, choose_plan(name, preset.max_window, window, overlap), settings)

    @property
    def warm_up_seconds(self) -> float | None:
        """What `compile` has taken so far; None where nothing is compiled."""
        return getattr(self.loaded.model, "warm_up_seconds", None)

    @property
    def meta(self) -> DepthMeta:
        """What every output says of itself: units, kind, model, licence and how it was run."""
        preprocessing, plan = self.loaded.preset.preprocessing, self.plan
        device = device_of(self.loaded.model)
        run: dict[str, Any] = {
            "strategy": STREAMING if plan is None else plan.name,
            "window": None if plan is None else plan.length,
            "overlap": None if plan is None else plan.overlap,
            "input_size": self.settings.input_size
            or preprocessing.input_size
            or preprocessing.image_shape,
            "output_size": self.settings.output_size,
            "precision": self.settings.resolved_precision(device),
            "device": str(device),
        }
        return replace(self.loaded.meta, settings=run | self.loaded.meta.settings)

    def run(self, source: Source | str | Path | Iterable[Any]) -> Iterator[DepthFrame]:
        """Depth of every frame, once and in order, in memory that does not grow with the video.

        Args:
            source: an open `Source`, or anything `open_source` takes (file, folder, glob, frames).

        Raises:
            InputError: the input cannot be read or is empty.
            WeightsError: the network gives values that are not finite.
            RecipeError: the sizes or the window asked for do not fit into memory.

        Warns:
            PrecisionWarning: half precision overflowed and float32 took over.
            AlignmentWarning: two windows contradict each other; their means were matched.
        """
        if not isinstance(source, str | Path) and hasattr(source, "info"):
            yield from self._estimate(cast(Source, source))
            return
        with open_source(source) as opened:
            yield from self._estimate(opened)

    def predict(
        self, frames: Source | str | Path | Iterable[Any]
    ) -> Float32[np.ndarray, "time rows columns"]:
        """Depth of a whole clip at once, in memory.

        Args:
            frames: RGB, uint8, [time, height, width, 3], or anything else that `run` takes.

        Returns:
            float32 [time, height, width] in the kind and units of `meta`; another size with
            `output_size`.

        Raises:
            InputError: the frames are of another type or shape, not of one size, or there are none.
            WeightsError: as `run`.
            RecipeError: as `run`.
        """
        maps = [frame.values for frame in self.run(frames)]
        if len({values.shape for values in maps}) > 1:
            raise InputError(
                "The frames are not of one size, so their depth does not fit into one array; "
                "use run, or choose an output size as (width, height)."
            )
        return np.stack(maps)

    def stream(self) -> StreamingDepth:
        """A fresh stream: give it frames one by one."""
        return StreamingDepth(self.loaded.model, self.loaded.preset, self.settings)

    def _estimate(self, source: Source) -> Iterator[DepthFrame]:
        run = (
            self.stream().run
            if self.plan is None
            else DepthEngine(self.loaded.model, self.loaded.preset, self.plan, self.settings).run
        )
        with memory_explained(device_of(self.loaded.model)):
            yield from run(source)


def _load(
    name: Path,
    weights: Path | None,
    *,
    backend: str,
    precision: str,
    device: str,
    permissive_only: bool,
    announce: Callable[[str], object] | None,
) -> LoadedModel:
    """A model in PyTorch, or one that runs outside: an export, or converted now."""
    if backend not in (TORCH, *BACKENDS):
        known = ", ".join((TORCH, *BACKENDS))
        raise RecipeError(f"There is no backend {backend!r}; choose from {known}.")
    place = choose_device(device)
    if is_export(name):
        if weights is not None or precision != AUTO:
            raise RecipeError(
                f"{name} is an export, whose weights and precision are fixed; leave both out."
            )
        exported = open_folder(name, None if backend == TORCH else backend, str(place))
        admit(exported.preset, permissive_only, announce)
        return exported
    loaded = load(
        str(name),
        weights=weights,
        permissive_only=permissive_only,
        device=place if backend == TORCH else "cpu",
        announce=announce,
    )
    return loaded if backend == TORCH else run_outside(loaded, backend, precision, str(place))


def _compiled(loaded: LoadedModel, choice: str) -> LoadedModel:
    from endodav.inference.compiled import compiled  # seconds, which others need not wait

    meta = replace(loaded.meta, settings=loaded.meta.settings | {"compile": choice})
    return replace(loaded, model=compiled(loaded.model, choice), meta=meta)


def default_strategy(preset: ModelPreset) -> str:
    """The strategy of a model unless another is asked for."""
    return "independent" if preset.max_window == 1 else preset.strategy
