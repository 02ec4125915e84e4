"""What a runtime outside PyTorch has to offer, and what is said when it is not installed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch.export import ExportedProgram

from endodav.backends.graphs import Graph, Size
from endodav.errors import RecipeError, WeightsError

Array = np.ndarray


@runtime_checkable
class Part(Protocol):
    """One part of a network, loaded."""

    def __call__(self, *inputs: Array) -> list[Array]:
        """Its outputs, in memory of their own; as soon as possible."""
        ...

    def beside(self, *inputs: Array) -> list[Array]:
        """As `__call__`, while another part computes; each takes half of the cores."""
        return self(*inputs)

    def each(self, examples: Sequence[Sequence[Array]]) -> list[list[Array]]:
        """Outputs of several inputs of one size, in order; as many a second as possible."""
        return [self(*inputs) for inputs in examples]


@runtime_checkable
class Format(Protocol):
    """A kind of file for the parts of a network, and the runtime that reads it."""

    @property
    def name(self) -> str:
        """What users call it."""
        ...

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those it has."""
        ...

    def files(self, part: str) -> tuple[str, ...]:
        """Names of the files that hold a part; the first is the one to open."""
        ...

    def write(
        self,
        program: ExportedProgram,
        graph: Graph,
        folder: Path,
        precision: str,
        size: Size | None,
    ) -> None:
        """Convert a traced part into `folder`."""
        ...

    def quantise(self, folder: Path, part: str, inputs: Sequence[tuple[str, list[Array]]]) -> None:
        """Make a written part INT8, in place, calibrated on the named inputs it will see."""
        ...

    def versions(self) -> dict[str, str]:
        """Packages that decide what is written."""
        ...


def require(module: str, extra: str) -> Any:
    """A module of an optional package.

    Raises:
        RecipeError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise RecipeError(
            f"This needs {module.partition('.')[0]}, which is not installed: "
            f'pip install "endodav[{extra}]".'
        ) from error


def quantised(
    model: Any, inputs: Sequence[tuple[str, list[Array]]], left: Sequence[str] = ()
) -> Any:
    """An INT8 version of a model of OpenVINO or ONNX, by NNCF's post-training quantisation.

    Ranges are those of all examples. NNCF's own choice, the mean of each example's range, cuts off
    what only few show: behind a normalisation, all that is left in a mostly black image.

    Args:
        model: the model.
        inputs: name and examples of each input.
        left: names of operators that stay as they are.

    Raises:
        RecipeError: NNCF is not installed.
    """
    nncf = require("nncf", "openvino")
    nncf.set_log_level(logging.ERROR)
    ranges = require("nncf.quantization.range_estimator", "openvino").RangeEstimatorParametersSet
    names = [name for name, _ in inputs]
    arrays = zip(*(examples for _, examples in inputs), strict=True)
    examples = [dict(zip(names, example, strict=True)) for example in arrays]
    with redirect_stdout(StringIO()):  # its progress bars, where programs read ours
        return nncf.quantize(
            model,
            nncf.Dataset(examples),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(examples),
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=nncf.IgnoredScope(names=list(left)),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=ranges.MINMAX
            ),
        )


def damaged(path: Path) -> WeightsError:
    """A file of an export that is not what it was."""
    return WeightsError(
        f"{path} is damaged or not of this export; write it again with `endodav export`."
    )
