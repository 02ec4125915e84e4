"""OpenVINO: the fastest way on a CPU, with bf16 and INT8 where the CPU has them.

A graph is compiled for the very sizes it meets, which is worth more than anything else here; what
was compiled stays in a cache on disk. One frame has all cores; of several frames each core takes
its own, which spares the cores from waiting for each other after every layer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from torch.export import ExportedProgram

from endodav.backends.graphs import Graph, Size
from endodav.backends.runtime import Array, Part, damaged, quantised, require

EXTRA = "openvino"
HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "bf16"}
MOST_COMPILED = 4  # sizes of one part, and ways to run it, that stay compiled
ALONE, BESIDE, EACH = "alone", "beside", "each"  # the ways: `Part`'s methods

Shapes = tuple[tuple[int, ...], ...]


class OpenVINO:
    """Intermediate representation: `.xml` for the graph, `.bin` for its weights."""

    name = "openvino"
    precisions = ("fp32", "fp16", "bf16", "int8")

    def files(self, part: str) -> tuple[str, ...]:
        """Graph and weights."""
        return f"{part}.xml", f"{part}.bin"

    def write(
        self,
        program: ExportedProgram,
        graph: Graph,
        folder: Path,
        precision: str,
        size: Size | None,
    ) -> None:
        """Convert; fp16 also halves the file.

        Raises:
            RecipeError: OpenVINO is not installed.
        """
        openvino = require("openvino", EXTRA)
        model = openvino.convert_model(program)
        for ports, names in ((model.inputs, graph.inputs), (model.outputs, graph.outputs)):
            for port, name in zip(ports, names, strict=True):
                port.get_tensor().set_names({name})
        if size is not None:
            shapes = zip(graph.inputs, graph.example, graph.open_sides, strict=True)
            model.reshape({name: _shape(x.shape, sides) for name, x, sides in shapes})
        openvino.save_model(
            model, folder / self.files(graph.name)[0], compress_to_fp16=precision == "fp16"
        )

    def quantise(self, folder: Path, part: str, inputs: Sequence[tuple[str, list[Array]]]) -> None:
        """Post-training quantisation by NNCF.

        Raises:
            RecipeError: NNCF is not installed.
        """
        openvino = require("openvino", EXTRA)
        files = self.files(part)
        model = openvino.Core().read_model(folder / files[0])
        # Fixed sizes while it is calibrated, where all examples have them: faster, and some passes
        # of OpenVINO fail on a clip of unknown length.
        shapes = {name: {x.shape for x in examples} for name, examples in inputs}
        left_open = {name: model.input(name).get_partial_shape() for name in shapes}
        if all(len(found) == 1 for found in shapes.values()):
            model.reshape({name: list(*found) for name, found in shapes.items()})
        model = quantised(model, inputs, _products_of_data(model))
        model.reshape(left_open)
        # What is being read is mapped into memory, so it must not be written over.
        with TemporaryDirectory(dir=folder) as beside:
            openvino.save_model(model, Path(beside) / files[0], compress_to_fp16=False)
            for name in files:
                (Path(beside) / name).replace(folder / name)

    def versions(self) -> dict[str, str]:
        """OpenVINO's.

        Raises:
            RecipeError: it is not installed.
        """
        return {"openvino": str(require("openvino", EXTRA).__version__)}


class OpenVINOParts:
    """Opens the parts of one export.

    Args:
        folder: where they are.
        precision: of the arithmetic.
        threads: at most so many; None for all there are.
        cache: folder for what was compiled; None to compile anew each time.

    Raises:
        RecipeError: OpenVINO is not installed.
    """

    def __init__(
        self, folder: Path, precision: str, threads: int | None = None, cache: Path | None = None
    ) -> None:
        self._core = require("openvino", EXTRA).Core()
        self._folder, self._precision = folder, precision
        self._threads, self._cache = threads, cache

    def open(self, part: str) -> Part:
        """One part.

        Raises:
            WeightsError: its files are damaged.
        """
        path = self._folder / OpenVINO().files(part)[0]
        try:
            model = self._core.read_model(path)
        except RuntimeError as error:
            raise damaged(path) from error
        return _Compiled(self._core, model, self._options)

    def _options(self, goal: str) -> dict[str, Any]:
        """How a part is compiled to be run as the method of `Part` with that name."""
        hint = "THROUGHPUT" if goal == EACH else "LATENCY"
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": HINTS[self._precision],
            "PERFORMANCE_HINT": hint,
        }
        if goal == BESIDE:
            threads = max((self._threads or os.cpu_count() or 1) // 2, 1)
            # Pinned threads of two parts would meet on the same cores.
            options |= {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
        elif self._threads is not None:
            options |= {"INFERENCE_NUM_THREADS": self._threads}
        if self._cache is not None:
            # OpenVINO's key of a compiled graph leaves some options out and would mix them up.
            own = f"openvino-{HINTS[self._precision]}-{self._threads or 'all'}-{goal}"
            options |= {"CACHE_DIR": str(self._cache / own)}
        return options


class _Compiled(Part):
    """A part, compiled for each size that it meets and each way to run it."""

    def __init__(self, core: Any, model: Any, options: Callable[[str], dict[str, Any]]) -> None:
        self._core, self._model, self._options = core, model, options
        self._compiled: dict[tuple[Shapes, str], Any] = {}

    def __call__(self, *inputs: Array) -> list[Array]:
        return self._infer(ALONE, inputs)

    def beside(self, *inputs: Array) -> list[Array]:
        return self._infer(BESIDE, inputs)

    def each(self, examples: Sequence[Sequence[Array]]) -> list[list[Array]]:
        found: list[list[Array]] = [[] for _ in examples]

        def keep(request: Any, place: int) -> None:
            found[place] = [output.data.copy() for output in request.output_tensors]

        queue = self._requests(EACH, examples[0])
        queue.set_callback(keep)
        shared = [_contiguous(inputs) for inputs in examples]  # read until all are done
        for place, inputs in enumerate(shared):
            queue.start_async(inputs, place, share_inputs=True)
        queue.wait_all()
        return found

    def _infer(self, goal: str, inputs: Sequence[Array]) -> list[Array]:
        request = self._requests(goal, inputs)[0]
        return list(request.infer(_contiguous(inputs), share_inputs=True).values())

    def _requests(self, goal: str, inputs: Sequence[Array]) -> Any:
        """As many requests as run at once for inputs of this size."""
        key = tuple(x.shape for x in inputs), goal
        if key not in self._compiled:
            if len(self._compiled) == MOST_COMPILED:
                self._compiled.pop(next(iter(self._compiled)))
            model = self._model.clone()
            model.reshape(dict(enumerate(key[0])))
            compiled = self._core.compile_model(model, "CPU", self._options(goal))
            # A queue of no given length has one request for each stream.
            self._compiled[key] = require("openvino", EXTRA).AsyncInferQueue(compiled)
        return self._compiled[key]


def _contiguous(inputs: Sequence[Array]) -> list[Array]:
    return [np.ascontiguousarray(x) for x in inputs]


def native_precision() -> str:
    """What this CPU computes fastest without losing more than bf16 does.

    Raises:
        RecipeError: OpenVINO is not installed.
    """
    core = require("openvino", EXTRA).Core()
    return "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "fp32"


def _products_of_data(model: Any) -> list[str]:
    """Names of the matrix products in which no weights take part: attention written out."""
    return [
        node.get_friendly_name()
        for node in model.get_ops()
        if node.get_type_name() == "MatMul"
        and not any(_is_constant(port.get_node()) for port in node.input_values())
    ]


def _is_constant(node: Any) -> bool:
    """Whether a node gives weights, perhaps converted."""
    while node.get_input_size() == 1:
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")


def _shape(sizes: Sequence[int], open_sides: dict[int, Any]) -> list[int]:
    """Fixed, but for what stays open in any case (the length of a clip)."""
    return [-1 if axis in open_sides else size for axis, size in enumerate(sizes)]
