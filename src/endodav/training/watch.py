"""What a run looks like from outside: its log, and evaluations of its averaged weights."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from endodav.evaluation.protocols import per_frame_least_squares_in_depth
from endodav.inference.predictor import device_of
from endodav.inference.preprocess import network_input
from endodav.models.presets import PRESETS, Preprocessing
from endodav.training.clips import Clip
from endodav.training.data import held_out_clips
from endodav.training.pictures import sample_row, write_samples
from endodav.training.recipe import TrainRecipe
from endodav.training.sources import DatasetClips
from endodav.types import Kind

Record = dict[str, Any]
Report = Callable[[Record], None]


class Log:
    """One JSON object a line in `path`, each also given to `report`; every one has a step."""

    def __init__(self, path: Path, report: Report, last_step: int) -> None:
        """Open the log, without what it says of steps after `last_step`: these will come again."""
        self._path = path
        self._report = report
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith("\n")]  # a killed run leaves half a line
        path.write_text("".join(line for line in whole if json.loads(line)["step"] <= last_step))

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record; tensors of one element and floats become short numbers."""
        record = {name: _short(value) for name, value in record.items()}
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        self._report(record)


def _short(value: Any) -> Any:
    number = value.item() if isinstance(value, Tensor) else value
    return float(f"{number:.5g}") if isinstance(number, float) else number


class Stopwatch:
    """How much of the wall time is spent in its context: with it, the rest is waiting."""

    def __init__(self) -> None:
        self._since = time.perf_counter()
        self._inside = 0.0

    def __enter__(self) -> None:
        self._entered = time.perf_counter()

    def __exit__(self, *exc: object) -> None:
        self._inside += time.perf_counter() - self._entered

    def share(self) -> float:
        """Share of the time since the last call, or the start, that was spent inside."""
        now = time.perf_counter()
        share = self._inside / (now - self._since)
        self._since, self._inside = now, 0.0
        return share


class Watcher:
    """Clips that the run does not train on, and the model's errors on them."""

    def __init__(self, recipe: TrainRecipe, clips_folder: Path) -> None:
        self._preprocessing = PRESETS[recipe.preset].preprocessing
        self._input_size = min(recipe.batch.sizes[0])
        self._clips = {"held_out": held_out_clips(recipe, clips_folder)}
        for source in recipe.watch.datasets:
            clips = DatasetClips(source.name, source.path, PRESETS[recipe.preset].max_window)
            self._clips[source.name] = [clips[number] for number in range(len(clips))]

    @torch.inference_mode()
    def evaluate(self, model: nn.Module, picture: Path | None = None) -> Record:
        """Errors on each set; per-frame least squares in depth, mean over all its frames.

        Args:
            model: what to evaluate.
            picture: where to write a picture with a row for every clip, if wanted.
        """
        rows: list[UInt8[np.ndarray, "_ _ 3"]] = []
        record: Record = {}
        for name, clips in self._clips.items():
            predictions = [
                predict(model, clip.images, self._preprocessing, self._input_size) for clip in clips
            ]
            record[name] = _errors(predictions, clips)
            rows += [
                sample_row(
                    *(part[len(part) // 2] for part in (clip.images, prediction, *clip[1:3]))
                )
                for clip, prediction in zip(clips, predictions, strict=True)
            ]
        if picture is not None:
            write_samples(picture, rows)
        return record


def _errors(predictions: list[Float[np.ndarray, "_ _ _"]], clips: list[Clip]) -> Record:
    """Means over the frames of all clips, whose sizes may differ."""
    parts = [
        asdict(per_frame_least_squares_in_depth(prediction, Kind.INVERSE_DEPTH, *clip[1:3]))
        for prediction, clip in zip(predictions, clips, strict=True)
    ]
    frames = [part.pop("frames") for part in parts]
    means = {name: float(np.average([p[name] for p in parts], weights=frames)) for name in parts[0]}
    return {"frames": sum(frames)} | means


def predict(
    model: nn.Module,
    images: UInt8[np.ndarray, "time height width 3"],
    preprocessing: Preprocessing,
    input_size: int,
) -> Float[np.ndarray, "time height width"]:
    """Inverse depth of a clip that fits one window, returned at the frames' own size."""
    frames = torch.stack([network_input(image, preprocessing, input_size) for image in images])
    depth: Tensor = model.predict_clip(frames.to(device_of(model)))  # type: ignore[operator]
    depth = F.interpolate(depth[:, None], images.shape[1:3], mode="bilinear", align_corners=True)
    return np.asarray(depth[:, 0].cpu().numpy())
