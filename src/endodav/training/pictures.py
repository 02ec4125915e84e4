"""Sample pictures of a run: what goes in, what comes out, and what should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from endodav.types import Kind
from endodav.video.colormap import fit_colour_scale

COLORMAP = "inferno"
GAP = 2  # pixels between two panels


def write_samples(path: Path, rows: list[UInt8[np.ndarray, "_ _ 3"]]) -> None:
    """Write the rows, one under the other, as PNG.

    Args:
        path: its folder is made if absent.
        rows: from `sample_row`; widths may differ.
    """
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, GAP), (0, width - row.shape[1]), (0, 0))) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(padded)).save(path)


def sample_row(
    image: UInt8[np.ndarray, "height width 3"],
    prediction: Float[np.ndarray, "height width"],
    depth: Float[np.ndarray, "height width"],
    valid: Bool[np.ndarray, "height width"],
) -> UInt8[np.ndarray, "height total 3"]:
    """Image, predicted and true inverse depth side by side, near bright, unknown black.

    Each map has a range of its own, since a prediction has no scale.
    """
    truth = np.where(valid, 1 / np.maximum(depth, 1e-3), 0)
    panels = [image]
    for values in (prediction, truth):
        values = values.astype(np.float32)
        known = values[valid] if valid.any() else values.ravel()
        scale = fit_colour_scale([known[None]], Kind.INVERSE_DEPTH, COLORMAP)
        panels.append(np.where(valid[..., None], scale.paint(values), np.uint8(0)))
    gap = np.zeros((len(image), GAP, 3), np.uint8)
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)
