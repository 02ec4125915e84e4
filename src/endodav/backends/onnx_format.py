"""ONNX: files that many runtimes read; here ONNX Runtime on the CPU, CUDA or through TensorRT."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from endodav.backends.graphs import Graph, Size
from endodav.backends.runtime import Array, Part, damaged, quantised, require
from endodav.errors import RecipeError

EXTRA = "onnx"
OPSET = 20  # the first with GELU; what TensorRT 10 and ONNX Runtime 1.17 read

CPU, CUDA, TENSORRT = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))


class ONNX:
    """One `.onnx` file a part."""

    name = "onnx"
    precisions = ("fp32", "int8")

    def files(self, part: str) -> tuple[str, ...]:
        """Graph and weights in one."""
        return (f"{part}.onnx",)

    def write(
        self,
        program: ExportedProgram,
        graph: Graph,
        folder: Path,
        precision: str,  # noqa: ARG002 - as a Format; INT8 is made of what is written here
        size: Size | None,  # noqa: ARG002 - the program has it
    ) -> None:
        """Convert.

        Raises:
            RecipeError: onnx or onnxscript is not installed.
        """
        require("onnx", EXTRA), require("onnxscript", EXTRA)
        with _quietly():
            torch.onnx.export(
                program,
                f=folder / self.files(graph.name)[0],
                input_names=graph.inputs,
                output_names=graph.outputs,
                opset_version=OPSET,
                external_data=False,
                dynamo=True,
                verbose=False,
            )

    def quantise(self, folder: Path, part: str, inputs: Sequence[tuple[str, list[Array]]]) -> None:
        """Post-training quantisation by NNCF.

        Raises:
            RecipeError: NNCF is not installed.
        """
        onnx = require("onnx", EXTRA)
        path = folder / self.files(part)[0]
        onnx.save(quantised(onnx.load(path), inputs), path)

    def versions(self) -> dict[str, str]:
        """What writes and reads them.

        Raises:
            RecipeError: a package is not installed.
        """
        written = {name: str(require(name, EXTRA).__version__) for name in ("onnx", "onnxscript")}
        return {**written, "opset": str(OPSET)}


class ONNXParts:
    """Opens the parts of one export with ONNX Runtime.

    Args:
        folder: where they are.
        provider: one of ONNX Runtime's execution providers; the CPU takes what it cannot do.
        precision: TensorRT may compute fp32 graphs in fp16 or bf16.
        threads: on the CPU at most so many; None for all there are.
        cache: folder for the engines that TensorRT builds.

    Raises:
        RecipeError: ONNX Runtime is not installed, or lacks that provider.
    """

    def __init__(
        self,
        folder: Path,
        provider: str = CPU,
        precision: str = "fp32",
        threads: int | None = None,
        cache: Path | None = None,
    ) -> None:
        self._runtime = require("onnxruntime", EXTRA)
        available = self._runtime.get_available_providers()
        if provider not in available:
            raise RecipeError(
                f"This ONNX Runtime has no {provider} ({', '.join(available)}); it needs an NVIDIA "
                "GPU and pip install onnxruntime-gpu, or choose another backend."
            )
        self._folder = folder
        self._providers: list[Any] = [(provider, _provider_options(provider, precision, cache))]
        if provider == TENSORRT and CUDA in available:
            self._providers.append(CUDA)
        if provider != CPU:
            self._providers.append(CPU)
        self._options = self._runtime.SessionOptions()
        self._options.log_severity_level = 3  # errors
        if threads is not None:
            self._options.intra_op_num_threads = threads

    def open(self, part: str) -> Part:
        """One part.

        Raises:
            WeightsError: its file is damaged.
            RecipeError: the provider does not start here.
        """
        path = self._folder / ONNX().files(part)[0]
        try:
            session = self._runtime.InferenceSession(path, self._options, self._providers)
        except Exception as error:  # the runtime has a class for each of its causes
            raise damaged(path) from error
        wanted = self._providers[0][0]
        if session.get_providers()[0] != wanted:
            raise RecipeError(
                f"{wanted} does not start here; see that the libraries of CUDA and TensorRT are "
                "installed, or choose another backend."
            )
        return _Session(session)


class _Session(Part):
    """A part in a session of its own."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._names = [entry.name for entry in session.get_inputs()]

    def __call__(self, *inputs: Array) -> list[Array]:
        named = zip(self._names, inputs, strict=True)
        feeds = {name: np.ascontiguousarray(x) for name, x in named}
        outputs: list[Array] = self._session.run(None, feeds)
        return outputs


def _provider_options(provider: str, precision: str, cache: Path | None) -> dict[str, str]:
    if provider != TENSORRT:
        return {}
    reduced = {f"trt_{precision}_enable": "1"} if precision != "fp32" else {}
    kept = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(cache)} if cache else {}
    return reduced | kept


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what the exporter says to its developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
