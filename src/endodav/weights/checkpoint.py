"""Reading checkpoint files as data: tensors and text come out, nothing is ever executed."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from endodav.errors import OutputError, WeightsError
from endodav.files import written_whole

Tensors = dict[str, Tensor]

WRAPPERS = ("model", "state_dict", "model_state_dict")  # {"model": {...}} and the like
PREFIXES = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile
LOOKALIKES = {  # first bytes of what a browser or git leaves in place of a checkpoint
    b"<": "a web page",
    b"version https://git-lfs": "a Git LFS pointer",
}
NAMES_SHOWN = 3


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        path: the file.
        tensors: name to tensor on the CPU; floating-point ones are float32 and finite.
        metadata: the text entries of a safetensors header; empty for `.pth`.
        sha256: SHA-256 of the file, in hexadecimal.
    """

    path: Path
    tensors: Tensors
    metadata: dict[str, str]
    sha256: str


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a `.safetensors`, `.pth` or `.pt` file without executing anything in it.

    Wrappers such as `{"state_dict": ...}` and the prefix `module.` are removed, and entries that
    are not tensors (an epoch, an image height) are left out.

    Raises:
        WeightsError: the file is missing, unreadable, damaged, of another kind, holds Python
            objects other than tensors, or holds values that are not finite.
    """
    reader = _READERS.get(path.suffix.lower())
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; name the checkpoint file in it.")
    if reader is None:
        kinds = ", ".join(_READERS)
        raise WeightsError(f"{path} is not a checkpoint by its name; it must end in {kinds}.")
    _refuse_lookalikes(path)
    sha256 = sha256_of(path)
    tensors, metadata = reader(path)
    if not tensors:
        raise WeightsError(f"{path} holds no tensors; give a checkpoint with network weights.")
    return Checkpoint(path, _as_float32(tensors, path), metadata, sha256)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal, read in pieces.

    Raises:
        WeightsError: the file is missing or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors and text to `path`, under a temporary name first.

    Raises:
        OutputError: the file cannot be written there.
    """
    _write(path, tensors, partial(save_file, metadata=metadata))


def write_pickle(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as a state dict for programs that know nothing but `torch.load`.

    Raises:
        OutputError: the file cannot be written there.
    """
    _write(path, tensors, torch.save)


def _write(
    path: Path, tensors: Mapping[str, Tensor], save: Callable[[Tensors, Path], object]
) -> None:
    """Save under a temporary name, then rename."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        with written_whole(path) as unfinished:
            save(contiguous, unfinished)
    except Exception as error:  # safetensors reports a full disk as an exception of its own
        raise OutputError(
            f"{path} cannot be written ({_first_line(error)}); choose another folder."
        ) from error


def load_strict(
    model: nn.Module, candidates: Iterable[Mapping[str, Tensor]], path: Path, architecture: str
) -> None:
    """Load the best-fitting candidate into `model`; each tensor must be there, and no other.

    Args:
        model: receives the values, in place.
        candidates: the same checkpoint under different naming schemes.
        path: the checkpoint file, for the message.
        architecture: what `model` is, for the message.

    Raises:
        WeightsError: not even the best candidate fits exactly; says what is missing, left over or
            of another shape.
    """
    expected = model.state_dict()
    best = min(candidates, key=lambda tensors: sum(map(len, _mismatch(expected, tensors))))
    missing, left_over, misshapen = _mismatch(expected, best)
    if missing or left_over or misshapen:
        shapes = [f"{k} {list(best[k].shape)} not {list(expected[k].shape)}" for k in misshapen]
        parts = {"missing": missing, "left over": left_over, "of another shape": shapes}
        told = ", ".join(f"{len(v)} {what} ({_few(v)})" for what, v in parts.items() if v)
        raise WeightsError(
            f"{path} does not fit {architecture}: tensors {told}; "
            "choose the model this checkpoint was made for."
        )
    model.load_state_dict(best)


def _mismatch(
    expected: Mapping[str, Tensor], given: Mapping[str, Tensor]
) -> tuple[list[str], list[str], list[str]]:
    """Names missing, left over, and of another shape."""
    missing = [name for name in expected if name not in given]
    left_over = [name for name in given if name not in expected]
    common = (name for name in expected if name in given)
    misshapen = [name for name in common if expected[name].shape != given[name].shape]
    return missing, left_over, misshapen


def _refuse_lookalikes(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise _unreadable(path, error) from error
    if not head:
        raise WeightsError(f"{path} is empty; download it again.")
    for start, what in LOOKALIKES.items():
        if head.lstrip().startswith(start):
            raise WeightsError(f"{path} is {what}, not a checkpoint; download the file itself.")


def _read_safetensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            # copied out of the memory map, which later writes to the file would otherwise reach
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except Exception as error:  # whatever a parser finds, the file is not what its name says
        raise _damaged(path) from error


def _read_pickle(path: Path) -> tuple[Tensors, dict[str, str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch deprecates old formats that users still have
            content = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found is None:
            raise _damaged(path) from error
        raise WeightsError(
            f"{path} holds Python objects besides tensors ({found[1]}), which could run code, "
            "so it was not loaded; save its state_dict alone."
        ) from error
    except Exception as error:  # whatever a parser finds, the file is not what its name says
        raise _damaged(path) from error
    return _unwrap(content), {}


_READERS: dict[str, Callable[[Path], tuple[Tensors, dict[str, str]]]] = {
    ".safetensors": _read_safetensors,
    ".pth": _read_pickle,
    ".pt": _read_pickle,
}


def _unwrap(content: Any) -> Tensors:
    """The tensors of a state dict, whatever it is wrapped in."""
    while isinstance(content, dict):
        inner = next((content[k] for k in WRAPPERS if isinstance(content.get(k), dict)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, dict):
        return {}
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _as_float32(tensors: Tensors, path: Path) -> Tensors:
    converted: Tensors = {}
    for name, tensor in tensors.items():
        plain = tensor.layout is torch.strided and not (tensor.is_quantized or tensor.is_meta)
        if not plain or tensor.is_complex():
            raise WeightsError(
                f"{path} holds {name} as a sparse, quantised, complex or empty tensor; "
                "save it as ordinary floating-point tensors."
            )
        value = tensor.detach()
        converted[name] = value.float() if value.is_floating_point() else value
    broken = [name for name, tensor in converted.items() if not tensor.isfinite().all()]
    if broken:
        raise WeightsError(
            f"{path} holds values that are not finite in {len(broken)} tensors ({_few(broken)}); "
            "use a checkpoint from before the training diverged."
        )
    return converted


def _few(names: list[str]) -> str:
    return ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _damaged(path: Path) -> WeightsError:
    return WeightsError(
        f"{path} is not a whole {path.suffix} checkpoint: it is damaged, cut short or of another "
        "kind; download it again."
    )


def _unreadable(path: Path, error: OSError) -> WeightsError:
    return WeightsError(
        f"{path} cannot be read ({error.strerror or error}); check the path and its permissions."
    )
