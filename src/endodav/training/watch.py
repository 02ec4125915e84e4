"""What a run looks like from outside: its log, and evaluations of its averaged weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from endodav.evaluation.protocols import per_frame_least_squares_in_depth
from endodav.evaluation.simcol import read_simcol
from endodav.inference.preprocess import network_input
from endodav.models.presets import PRESETS, Preprocessing
from endodav.training.data import Clip, held_out_clips
from endodav.training.recipe import TrainRecipe
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
        path.write_text("".join(line for line in lines if json.loads(line)["step"] <= last_step))

    def write(self, record: Record) -> None:
        """Append one record."""
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        self._report(record)


class Watcher:
    """Clips that the run does not train on, and the model's errors on them."""

    def __init__(self, recipe: TrainRecipe, clips_folder: Path) -> None:
        self._preprocessing = PRESETS[recipe.preset].preprocessing
        self._input_size = min(recipe.batch.sizes[0])
        self._clips = {"held_out": held_out_clips(recipe, clips_folder)}
        if recipe.watch.simcol is not None:
            images, depth = read_simcol(recipe.watch.simcol)
            self._clips["simcol3d"] = [Clip(images, depth, depth > 0)]

    @torch.inference_mode()
    def evaluate(self, model: nn.Module) -> Record:
        """Errors on each set; per-frame least squares in depth, mean over all its frames."""
        return {name: self._errors(model, clips) for name, clips in self._clips.items()}

    def _errors(self, model: nn.Module, clips: list[Clip]) -> Record:
        predictions = [
            predict(model, clip.images, self._preprocessing, self._input_size) for clip in clips
        ]
        depth = np.concatenate([clip.depth for clip in clips])
        valid = np.concatenate([clip.valid for clip in clips])
        prediction = np.concatenate(predictions)
        return asdict(
            per_frame_least_squares_in_depth(prediction, Kind.INVERSE_DEPTH, depth, valid)
        )


def predict(
    model: nn.Module,
    images: UInt8[np.ndarray, "time height width 3"],
    preprocessing: Preprocessing,
    input_size: int,
) -> Float[np.ndarray, "time height width"]:
    """Inverse depth of a clip that fits one window, returned at the frames' own size."""
    frames = torch.stack([network_input(image, preprocessing, input_size) for image in images])
    depth: Tensor = model.predict_clip(frames)  # type: ignore[operator]
    depth = F.interpolate(depth[:, None], images.shape[1:3], mode="bilinear", align_corners=True)
    return np.asarray(depth[:, 0].numpy())
