"""Regions of a frame, inside which depth is smooth: made by SAM or by superpixels, kept as PNG.

EndoUFM (arXiv 2508.17916) guides smoothness by the masks of a foundation model. Labels are small
integers, 0 where no region claims a pixel; a video's labels lie in one folder, a file a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from endodav.errors import InputError, OutputError, WeightsError
from endodav.files import written_whole
from endodav.types import RGBImage

Labels = Int[np.ndarray, "height width"]
Segmenter = Callable[[RGBImage], Labels]

INSTALL = "pip install 'endodav[masks]'"
SUPERPIXELS = 64  # a frame; about as many as SAM finds
COMPACTNESS = 10.0  # scikit-image's default balance of colour and place
MOST_LABELS = 2**16

# Kirillov et al., ICCV 2023: defaults of the automatic mask generator.
POINTS_A_SIDE = 16
POINTS_AT_ONCE = 64
MIN_QUALITY = 0.88
MIN_STABILITY = 0.9
STABILITY_OFFSET = 1.0
SAM_MEAN = (123.675, 116.28, 103.53)
SAM_STD = (58.395, 57.12, 57.375)


# ----------------------------------------------------------------------------------- on disk


def label_path(folder: Path, index: int) -> Path:
    """Where the labels of frame `index` lie."""
    return folder / f"{index:06d}.png"


def write_labels(path: Path, labels: Labels) -> None:
    """Write labels as a 16-bit grey PNG, under a temporary name first.

    Raises:
        OutputError: it cannot be written there.
    """
    try:
        with written_whole(path) as partial:
            Image.fromarray(labels.astype(np.uint16)).save(partial, format="PNG")
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}); choose another folder."
        ) from error


def read_labels(path: Path) -> Labels:
    """Labels from a grey or palette image of 8 or 16 bits.

    Raises:
        InputError: it is missing, damaged, or a colour image.
    """
    try:
        with Image.open(path) as image:
            values = np.asarray(image)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as region labels; make them with `endodav masks`."
        ) from error
    if values.ndim != 2:
        raise InputError(f"{path} is a colour image; region labels are one number a pixel.")
    return values.astype(np.int64)


# ------------------------------------------------------------------------------- superpixels


def superpixels(image: RGBImage) -> Labels:
    """SLIC superpixels (Achanta et al., TPAMI 2012), labelled from 1.

    Raises:
        InputError: scikit-image is not installed.
    """
    try:
        from skimage.segmentation import slic
    except ImportError as error:
        raise InputError(f"Superpixels need scikit-image: {INSTALL}.") from error
    found = slic(image, n_segments=SUPERPIXELS, compactness=COMPACTNESS, start_label=1)
    return np.asarray(found, dtype=np.int64)


# --------------------------------------------------------------------------------------- SAM


class SegmentAnything:
    """Regions by a model of the SAM family (SAM, MedSAM) asked at a grid of points.

    Smaller regions lie on top of larger ones. The model is read by `transformers`: a name on the
    Hugging Face hub or a folder; only safetensors are loaded, no code.

    Args:
        name_or_path: such as `facebook/sam-vit-base` or `wanglab/medsam-vit-base`.
        device: where it runs.

    Raises:
        InputError: transformers is not installed.
        WeightsError: there is no such model, or it is none of that family.
    """

    def __init__(self, name_or_path: str, device: torch.device | str = "cpu") -> None:
        try:
            from transformers import SamModel
        except ImportError as error:
            raise InputError(f"SAM needs transformers: {INSTALL}.") from error
        try:
            model: Any = SamModel.from_pretrained(name_or_path, use_safetensors=True)
        except Exception as error:  # the library has no class of its own for what can go wrong
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise WeightsError(
                f"'{name_or_path}' cannot be loaded as a SAM model ({reason}); give a hub name or a"
                " folder with config.json and model.safetensors, or use --method slic."
            ) from error
        self._model = model.to(device).eval()
        self._side = int(model.config.vision_config.image_size)
        self._device = device

    @torch.inference_mode()
    def __call__(self, image: RGBImage) -> Labels:
        """Labels of one frame."""
        pixels, size = self._prepare(image)
        embedding = self._model.get_image_embeddings(pixels)
        kept = [self._ask(embedding, points, size) for points in self._grid(size)]
        masks = F.interpolate(torch.cat(kept)[:, None], image.shape[:2], mode="bilinear")[:, 0] > 0
        return paint(masks.cpu().numpy())

    def _prepare(self, image: RGBImage) -> tuple[Float[Tensor, "1 3 side side"], tuple[int, int]]:
        """The frame, its longer side as the model wants it, on a black square; and its size."""
        scale = self._side / max(image.shape[:2])
        size = round(image.shape[0] * scale), round(image.shape[1] * scale)
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
        pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True)
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (SAM_MEAN, SAM_STD))
        padding = (0, self._side - size[1], 0, self._side - size[0])
        return F.pad((pixels - mean) / std, padding).to(self._device), size

    def _grid(self, size: tuple[int, int]) -> Iterator[Float[Tensor, "1 points 1 2"]]:
        """Points (x, y) to ask at, some at a time."""
        share = (torch.arange(POINTS_A_SIDE) + 0.5) / POINTS_A_SIDE
        y, x = torch.meshgrid(share * size[0], share * size[1], indexing="ij")
        points = torch.stack([x, y], dim=-1).view(1, -1, 1, 2).to(self._device)
        yield from torch.split(points, POINTS_AT_ONCE, dim=1)

    def _ask(
        self,
        embedding: Float[Tensor, "1 _ _ _"],
        points: Float[Tensor, "1 points 1 2"],
        size: tuple[int, int],
    ) -> Float[Tensor, "kept rows columns"]:
        """Logits of the masks that the model is sure of, without the padding."""
        answer = self._model(image_embeddings=embedding, input_points=points)
        logits = answer.pred_masks.flatten(0, 2)
        rows, columns = (round(side * logits.shape[-1] / self._side) for side in size)
        logits = logits[:, :rows, :columns]
        narrow, wide = ((logits > t).sum((1, 2)) for t in (STABILITY_OFFSET, -STABILITY_OFFSET))
        stable = narrow > MIN_STABILITY * wide
        sure: Tensor = answer.iou_scores.flatten() > MIN_QUALITY
        kept: Tensor = logits[stable & sure]
        return kept


def paint(masks: Bool[np.ndarray, "masks height width"]) -> Labels:
    """One label a pixel: masks numbered from 1, the smaller over the larger; 0 where there is none.

    >>> paint(np.array([[[True, False, False]], [[True, True, False]]]))
    array([[2, 1, 0]])
    """
    areas = masks.sum(axis=(1, 2))
    labels = np.zeros(masks.shape[1:], dtype=np.int64)
    largest_first = [number for number in np.argsort(-areas, kind="stable") if areas[number] > 0]
    for label, number in enumerate(largest_first[: MOST_LABELS - 1], start=1):
        labels[masks[number]] = label
    return labels
