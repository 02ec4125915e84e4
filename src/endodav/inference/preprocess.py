"""From an 8-bit frame to what a network sees.

Every official program resizes with OpenCV's bicubic filter (a = -0.75) without antialias and keeps
the overshoot beyond 0..1. torch's filter has the same kernel, the same pixel centres and the same
borders. What differs between models is the size rule and the normalisation, and both are data of
the preset.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from endodav.errors import RecipeError
from endodav.models.presets import Preprocessing
from endodav.types import RGBImage

PATCH = 14  # DINOv2's; what the official rules round to
# Video Depth Anything: beyond 16:9 (1.78 with slack) the longer side stays what 16:9 would give it.
WIDEST_RATIO = 1.78
WIDEST_RATIO_SIZE = 1.777


def limit_ratio(size: int, height: int, width: int, multiple: int = PATCH) -> int:
    """Shorter side for frames wider (or taller) than 16:9, so that the longer side stays bounded.

    Official rule: int(size * 1.777 / ratio), rounded half to even to a multiple of the patch; at
    least one patch here, where the official program would ask for an empty image.
    """
    ratio = max(height, width) / min(height, width)
    if ratio <= WIDEST_RATIO:
        return size
    return max(round(int(size * WIDEST_RATIO_SIZE / ratio) / multiple) * multiple, multiple)


def lower_bound_size(
    height: int, width: int, target: tuple[int, int], multiple: int = PATCH
) -> tuple[int, int]:
    """Smallest size of about the frame's proportions that covers `target`, in whole patches.

    The frame is scaled until both sides reach the target's; each side is rounded half to even to a
    multiple of the patch, or up where that would fall below the target.

    Args:
        height: rows of the frame.
        width: columns of the frame.
        target: (rows, columns) to reach.
        multiple: side of a patch.
    """
    scale = max(target[0] / height, target[1] / width)

    def to_patches(length: float, least: int) -> int:
        nearest = round(length / multiple) * multiple
        return nearest if nearest >= least else math.ceil(length / multiple) * multiple

    return to_patches(scale * height, target[0]), to_patches(scale * width, target[1])


def network_size(
    height: int, width: int, preprocessing: Preprocessing, input_size: int | None = None
) -> tuple[int, int]:
    """Rows and columns of the network's input for frames of `height` x `width`.

    Args:
        height: rows of the frame.
        width: columns of the frame.
        preprocessing: the model's.
        input_size: shorter side instead of the model's own, in pixels.

    Raises:
        RecipeError: the model has one fixed size, or the size asked for is smaller than a patch.
    """
    size = preprocessing.input_size if input_size is None else input_size
    multiple = preprocessing.multiple
    match preprocessing.rule:
        case "endodav":
            if input_size is not None or preprocessing.image_shape is None:
                raise RecipeError(
                    f"This model always sees {preprocessing.image_shape} pixels (rows, columns); "
                    "leave the input size out."
                )
            return lower_bound_size(height, width, preprocessing.image_shape, multiple)
        case "vda":
            size = limit_ratio(at_least_a_patch(size, multiple), height, width, multiple)
        case "dav2":
            size = at_least_a_patch(size, multiple)
    return lower_bound_size(height, width, (size, size), multiple)


def at_least_a_patch(size: int | None, multiple: int = PATCH) -> int:
    """The size, if a network can see anything in it.

    Raises:
        RecipeError: it is missing or smaller than a patch.
    """
    if size is None or size < multiple:
        raise RecipeError(
            f"An input size of {size} is smaller than one patch; choose {multiple} or more."
        )
    return size


def network_input(
    image: RGBImage,
    preprocessing: Preprocessing,
    input_size: int | None = None,
    device: torch.device | str = "cpu",
) -> Float[Tensor, "3 rows columns"]:
    """One frame as the network wants it: resized, scaled to 0..1, normalised; float32 on `device`.

    Raises:
        RecipeError: as `network_size`.
    """
    size = network_size(image.shape[0], image.shape[1], preprocessing, input_size)
    resized = resize_bicubic(unit_image(image, torch.device(device)), size)
    return normalise(resized, preprocessing.mean, preprocessing.std)


def unit_image(image: RGBImage, device: torch.device) -> Float[Tensor, "3 height width"]:
    """RGB in 0..1 on `device`; what crosses to it is 8 bits."""
    on_device = torch.tensor(np.ascontiguousarray(image), device=device)
    return on_device.permute(2, 0, 1).float().div_(255.0)


def resize_bicubic(
    image: Float[Tensor, "channels height width"], size: tuple[int, int]
) -> Float[Tensor, "channels new_height new_width"]:
    """Bicubic with a = -0.75, no antialias, overshoot kept; the same as OpenCV's INTER_CUBIC."""
    if tuple(image.shape[1:]) == size:
        return image
    return interpolate(image[None], size, mode="bicubic", align_corners=False)[0]


def normalise(
    image: Float[Tensor, "3 height width"], mean: tuple[float, ...], std: tuple[float, ...]
) -> Float[Tensor, "3 height width"]:
    """(image - mean) / std for each channel."""
    offset, spread = (image.new_tensor(values)[:, None, None] for values in (mean, std))
    return (image - offset) / spread
