"""OpenVINO: the fastest way on a CPU, with bf16 and INT8 where the CPU has them.

A graph is compiled for the very sizes it meets, which is worth more than anything else here; what
was compiled stays in a cache on disk. One frame has all cores; of several frames each core takes
its own, which spares the cores from waiting for each other after every layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from torch.export import ExportedProgram

from endodav.backends.graphs import Graph, Size
from endodav.backends.runtime import Array, Part, damaged, quantised, require

EXTRA = "openvino"
HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "bf16"}
MOST_COMPILED = 4  # sizes of one part that stay compiled, for one frame or for several at a time

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
        model = quantised(model, inputs)
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
        self._folder = folder
        self._options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
        }
        if threads is not None:
            self._options |= {"INFERENCE_NUM_THREADS": threads}
        if cache is not None:
            # OpenVINO's key of a compiled graph leaves the precision out and would mix them up.
            own = cache / f"openvino-{HINTS[precision]}-{threads or 'all'}"
            self._options |= {"CACHE_DIR": str(own)}

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


class _Compiled(Part):
    """A part, compiled for each size that it meets."""

    def __init__(self, core: Any, model: Any, options: dict[str, Any]) -> None:
        self._core, self._model, self._options = core, model, options
        self._compiled: dict[tuple[Shapes, str], Any] = {}

    def __call__(self, *inputs: Array) -> list[Array]:
        results = self._requests(inputs, "LATENCY")[0].infer(_contiguous(inputs), share_inputs=True)
        return list(results.values())

    def each(self, examples: Sequence[Sequence[Array]]) -> list[list[Array]]:
        if len(examples) == 1:
            return [self(*examples[0])]
        found: list[list[Array]] = [[] for _ in examples]

        def keep(request: Any, place: int) -> None:
            found[place] = [output.data.copy() for output in request.output_tensors]

        queue = self._requests(examples[0], "THROUGHPUT")
        queue.set_callback(keep)
        for place, inputs in enumerate(examples):
            queue.start_async(_contiguous(inputs), place)
        queue.wait_all()
        return found

    def _requests(self, inputs: Sequence[Array], hint: str) -> Any:
        """As many requests as run at once for inputs of this size."""
        shapes = tuple(x.shape for x in inputs)
        if (shapes, hint) not in self._compiled:
            if len(self._compiled) == MOST_COMPILED:
                self._compiled.pop(next(iter(self._compiled)))
            model = self._model.clone()
            model.reshape(dict(enumerate(shapes)))
            compiled = self._core.compile_model(
                model, "CPU", self._options | {"PERFORMANCE_HINT": hint}
            )
            # A queue of no given length has one request for each stream.
            self._compiled[shapes, hint] = require("openvino", EXTRA).AsyncInferQueue(compiled)
        return self._compiled[shapes, hint]


def _contiguous(inputs: Sequence[Array]) -> list[Array]:
    return [np.ascontiguousarray(x) for x in inputs]


def native_precision() -> str:
    """What this CPU computes fastest without losing more than bf16 does.

    Raises:
        RecipeError: OpenVINO is not installed.
    """
    core = require("openvino", EXTRA).Core()
    return "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "fp32"


def _shape(sizes: Sequence[int], open_sides: dict[int, Any]) -> list[int]:
    """Fixed, but for what stays open in any case (the length of a clip)."""
    return [-1 if axis in open_sides else size for axis, size in enumerate(sizes)]
