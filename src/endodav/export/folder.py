"""`endodav export`: the folder, with its parity report, README and runner."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

from endodav.backends.card import Card
from endodav.backends.convert import (
    FORMATS,
    INT8,
    check_precision,
    check_size,
    new_folder,
    open_folder,
    sized,
    write_folder,
)
from endodav.backends.graphs import Size
from endodav.errors import OutputError, RecipeError
from endodav.export.examples import CALIBRATION_SCENES, CALIBRATION_SEED, filmed, rendered
from endodav.export.parity import Parity, measure
from endodav.inference.preprocess import network_size
from endodav.weights.runs import LoadedModel

PARITY_FILE, RUNNER_FILE, README_FILE = "parity.json", "run.py", "README.md"


def export(
    loaded: LoadedModel,
    out: Path,
    format_name: str,
    precision: str = "fp32",
    size: Size | None = None,
    videos: Sequence[Path] = (),
) -> Parity:
    """Write a model for another runtime, measure what was written, and put the folder in place.

    Args:
        loaded: the model, in PyTorch on the CPU.
        out: a folder that is not there yet.
        format_name: "openvino" or "onnx".
        precision: of the arithmetic; "int8" is calibrated on rendered frames and `videos`.
        size: rows and columns of the input; None for any.
        videos: of the user, for calibration.

    Raises:
        OutputError: the folder exists or cannot be written.
        RecipeError: the format is not installed, or model, size and precision do not go together.
        InputError: a video cannot be read.
    """
    if out.exists():
        raise OutputError(f"{out} is there already; choose another folder or remove it.")
    if format_name not in FORMATS:
        raise RecipeError(f"There is no format {format_name!r}; choose from {', '.join(FORMATS)}.")
    if videos and precision != INT8:
        raise RecipeError("Only INT8 is calibrated; leave the videos out or choose int8.")
    FORMATS[format_name].versions()
    check_precision(FORMATS[format_name], precision)
    _check_reachable(loaded, size)
    with new_folder(out) as partial:
        examples = []
        if precision == INT8:
            preset = sized(loaded.preset, size)
            seen = rendered(preset, size, CALIBRATION_SEED, CALIBRATION_SCENES)
            examples = [*seen, *filmed(preset, size, videos)]
        clips = [example.frames for example in examples]
        card = write_folder(loaded, partial, format_name, precision, size, clips)
        parity = measure(loaded, open_folder(partial), size)
        (partial / PARITY_FILE).write_text(json.dumps(asdict(parity), indent=2) + "\n")
        shutil.copyfile(str(files("endodav.export") / RUNNER_FILE), partial / RUNNER_FILE)
        (partial / README_FILE).write_text(readme(card, parity))
    return parity


def readme(card: Card, parity: Parity) -> str:
    """What the folder is, for whoever finds it."""
    size = "any" if card.size is None else f"{card.size[0]}x{card.size[1]}"
    parts = "\n".join(
        f"| `{next(iter(part.files))}` | {', '.join(part.inputs)} | {', '.join(part.outputs)} |"
        for part in card.parts.values()
    )
    versions = ", ".join(f"{name} {number}" for name, number in card.versions.items())
    return f"""# {card.meta.model}, {card.format}, {card.precision}

{card.meta.kind.replace("_", " ")}, {card.meta.units}. Licence of the weights: {card.meta.licence}.
Origin: {card.meta.origin}. SHA-256 of the weights: {card.meta.weights_sha256}.
Input: {size} (rows x columns). Written with {versions}.

    endodav depth VIDEO --model THIS_FOLDER
    python run.py VIDEO depth.npy    # without PyTorch: numpy, av and {card.format}

| file | inputs | outputs |
|---|---|---|
{parts}

A frame goes through `encoder`. A clip of at most 32 frames goes through `window`; a stream through
`first`, then `next`, whose contexts [rows, columns, 31, channels] are the entries that earlier
frames left: those of the first frame and of the one 41 frames ago, then of the last 29. Frames that
were not there yet are the first one. They may lie in any order that `order` [31] tells: 0 for the
first frame's, 30 for that of the frame before. `decoder` gives the depth of a frame.

Largest deviation from PyTorch in float32, by the largest value: {parity.rendered.relative:.1e} on
rendered frames, {parity.noise.relative:.1e} on noise. Abs Rel on rendered clips:
{parity.abs_rel_export:.4f}, PyTorch {parity.abs_rel_reference:.4f} ({parity.abs_rel_change:+.1%}).
More in `{PARITY_FILE}`; `model.json` says the rest.
"""


def _check_reachable(loaded: LoadedModel, size: Size | None) -> None:
    """See that a video of the export's proportions is resized to the export's size."""
    check_size(loaded.preset, size)
    if size is None:
        return
    seen = network_size(*size, sized(loaded.preset, size).preprocessing)
    if seen != size:
        raise RecipeError(
            f"{loaded.preset.name} sees frames of the proportions of {size[0]}x{size[1]} at "
            f"{seen[0]}x{seen[1]} pixels (rows x columns); export it for that size."
        )
