"""From a loaded model to a folder that a runtime opens, and back; see `endodav.backends`."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from types import MappingProxyType

import torch
from torch import nn

from endodav.backends.calibration import Clip, part_inputs
from endodav.backends.card import Card, PartCard, is_export, read_card
from endodav.backends.graphs import LAYOUT, Graph, Size, graphs_of
from endodav.backends.network import BackendNetwork, VideoBackendNetwork
from endodav.backends.onnx_format import CPU, CUDA, ONNX, TENSORRT, ONNXParts
from endodav.backends.openvino_format import OpenVINO, OpenVINOParts, native_precision
from endodav.backends.runtime import Format
from endodav.errors import OutputError, RecipeError
from endodav.models.presets import ModelPreset
from endodav.weights.checkpoint import sha256_of
from endodav.weights.licences import cache_folder
from endodav.weights.runs import LoadedModel, preset_to_json

FORMATS: Mapping[str, Format] = MappingProxyType({"openvino": OpenVINO(), "onnx": ONNX()})
BACKENDS = MappingProxyType({"openvino": "openvino", "onnx": "onnx", "tensorrt": "onnx"})
"""Every backend besides PyTorch, and the format it reads."""

AUTO = "auto"
INT8 = "int8"


def write_folder(
    loaded: LoadedModel,
    folder: Path,
    format_name: str,
    precision: str,
    size: Size | None = None,
    calibration: Iterable[Clip] | None = None,
) -> Card:
    """Write the parts of a model and its card into a folder that is there and empty.

    Args:
        loaded: the model.
        folder: receives the files.
        format_name: a key of `FORMATS`.
        precision: one that the format has.
        size: rows and columns of the input; None to leave them open.
        calibration: prepared clips that INT8 is fitted to.

    Raises:
        RecipeError: the format is not installed, has no such precision, or the model has no such
            size.
    """
    kind = FORMATS[format_name]
    check_precision(kind, precision)
    check_size(loaded.preset, size)
    written = {}
    for graph in graphs_of(loaded.model, size, loaded.preset.preprocessing.multiple):
        kind.write(graph.trace(), graph, folder, precision, size)
        written[graph.name] = graph
    if precision == INT8:
        assert calibration is not None, "INT8 is fitted to examples"
        quantise_folder(loaded.model, folder, kind, written, calibration)
    versions = {"endodav": version("endodav"), "torch": torch.__version__, **kind.versions()}
    parts = {
        name: PartCard(
            graph.inputs,
            graph.outputs,
            {file: sha256_of(folder / file) for file in kind.files(name)},
        )
        for name, graph in written.items()
    }
    preset = sized(loaded.preset, size)
    card = Card(format_name, precision, size, preset, loaded.meta, parts, versions, LAYOUT)
    card.write(folder)
    return card


def quantise_folder(
    network: nn.Module,
    folder: Path,
    kind: Format,
    graphs: dict[str, Graph],
    calibration: Iterable[Clip],
) -> None:
    """Make the written parts INT8."""
    for name, examples in part_inputs(network, calibration).items():
        by_input = [list(arrays) for arrays in zip(*examples, strict=True)]
        kind.quantise(folder, name, list(zip(graphs[name].inputs, by_input, strict=True)))


def open_folder(
    folder: Path, backend: str | None = None, device: str = "cpu", threads: int | None = None
) -> LoadedModel:
    """The model in an exported folder.

    Args:
        folder: that `endodav export` wrote.
        backend: a key of `BACKENDS`; what the format is made for if None.
        device: "cuda" lets ONNX Runtime compute there.
        threads: on the CPU at most so many; all there are if None.

    Raises:
        RecipeError: the backend does not read that format, or is not installed.
        WeightsError: a file is damaged or missing.
    """
    card = read_card(folder)
    backend = backend or card.format
    if BACKENDS.get(backend) != card.format:
        fitting = [name for name, read in BACKENDS.items() if read == card.format]
        raise RecipeError(
            f"{folder} is an export for {' or '.join(fitting)}, which {backend} does not read; "
            f"choose --backend {fitting[0]} or export the model for {backend}."
        )
    return _opened(card, folder, backend, card.precision, device, threads)


def run_outside(
    loaded: LoadedModel,
    backend: str,
    precision: str = AUTO,
    device: str = "cpu",
    threads: int | None = None,
) -> LoadedModel:
    """A loaded model run by a backend; converted at its first use, then taken from a cache.

    Args:
        loaded: the model, in PyTorch.
        backend: a key of `BACKENDS`.
        precision: "auto" is bf16 for OpenVINO where the CPU has it, fp16 for TensorRT, else fp32.
        device: as `open_folder`.
        threads: as `open_folder`.

    Raises:
        RecipeError: the backend or the precision is not to be had here.
    """
    kind = FORMATS[BACKENDS[backend]]
    if precision == AUTO:
        precision = _fastest(backend)
    if precision == INT8:
        raise RecipeError(
            "INT8 has to be calibrated first: run `endodav export MODEL --precision int8 --out DIR`"
            " and then use --model DIR."
        )
    stored = "fp32" if backend == "tensorrt" else precision
    check_precision(kind, stored)
    folder = _conversion(loaded, kind)
    card = replace(read_card(folder), preset=loaded.preset, meta=loaded.meta)
    return _opened(card, folder, backend, precision, device, threads)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that becomes `folder` if all goes well, and else is removed.

    Raises:
        OutputError: it cannot be written there.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written ({error.strerror or error}); choose another folder."
        ) from error
    try:
        yield partial
        partial.chmod(0o755)
        if is_export(folder):  # another process was faster, or this one replaces it
            shutil.rmtree(folder)
        partial.rename(folder)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written ({error.strerror or error}); choose another folder."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_precision(kind: Format, precision: str) -> None:
    """See that a format has a precision.

    Raises:
        RecipeError: it has not.
    """
    if precision not in kind.precisions:
        raise RecipeError(
            f"{kind.name} has no {precision} here; choose from {', '.join(kind.precisions)}."
        )


def check_size(preset: ModelPreset, size: Size | None) -> None:
    """See that a model can have an input of that size.

    Raises:
        RecipeError: it cannot.
    """
    multiple = preset.preprocessing.multiple
    if size is not None and any(side % multiple or side < 2 * multiple for side in size):
        raise RecipeError(
            f"{preset.name} takes inputs whose rows and columns are multiples of {multiple} "
            f"from {2 * multiple} on, not {size[0]}x{size[1]}."
        )


def sized(preset: ModelPreset, size: Size | None) -> ModelPreset:
    """The preset whose own input size is that of the export."""
    if size is None or preset.preprocessing.input_size is None:
        return preset
    return replace(preset, preprocessing=replace(preset.preprocessing, input_size=min(size)))


def _conversion(loaded: LoadedModel, kind: Format) -> Path:
    """The cached conversion of a model; it serves all precisions, which are a matter of running."""
    folder = cache_folder() / f"{kind.name}-{_fingerprint(loaded, kind)}"
    if not is_export(folder):
        with new_folder(folder) as partial:
            write_folder(loaded, partial, kind.name, "fp32")
    return folder


def _opened(
    card: Card, folder: Path, backend: str, precision: str, device: str, threads: int | None
) -> LoadedModel:
    compiled = cache_folder() / "compiled"
    if backend == "openvino":
        open_part = OpenVINOParts(folder, precision, threads, compiled).open
    else:
        provider = TENSORRT if backend == "tensorrt" else CUDA if "cuda" in device else CPU
        open_part = ONNXParts(folder, provider, precision, threads, compiled).open
    network = VideoBackendNetwork if "window" in card.parts else BackendNetwork
    how = {"backend": backend, "precision": precision}
    meta = replace(card.meta, settings=card.meta.settings | how)
    return LoadedModel(network(open_part, card.size, card.preset.name).eval(), card.preset, meta)


def _fastest(backend: str) -> str:
    if backend == "openvino":
        return native_precision()
    return "fp16" if backend == "tensorrt" else "fp32"


def _fingerprint(loaded: LoadedModel, kind: Format) -> str:
    """Of all that decides what a conversion gives: weights, architecture and versions."""
    digest = hashlib.sha256(f"{LAYOUT} {preset_to_json(loaded.preset)}".encode())
    versions = {"endodav": version("endodav"), "torch": torch.__version__, **kind.versions()}
    digest.update(repr(sorted(versions.items())).encode())
    for name, tensor in loaded.model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
