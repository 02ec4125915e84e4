"""Smooth random fields: the raw material of walls, textures and motion."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

_PAD = 2  # bicubic interpolation reaches two samples beyond its interval


def fractal_noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    cells: tuple[int, int],
    octaves: int = 20,
    gain: float = 0.5,
) -> Float[Tensor, "rows cols"]:
    """Periodic noise with mean 0 and standard deviation 1, built from coarse to fine.

    A random grid of `cells` is enlarged by 2 (bicubic) until it has the wanted shape; each of the
    first `octaves` enlargements adds fresh noise, `gain` times weaker than the one before. This
    costs little more than the last enlargement alone, unlike a sum of octaves at full size.

    Args:
        rng: source of randomness.
        shape: rows and columns; each must be `cells` times one power of two, the same for both.
        cells: size of the coarsest structure, as a number of cells along rows and columns.
        octaves: how many enlargements add detail; the field is smooth below the last of them.
        gain: amplitude of an octave relative to the one before it.
    """
    field = _white(rng, cells)
    amplitude = 1.0
    while field.shape[-2] < shape[0]:
        padded = F.pad(field, (_PAD, _PAD, _PAD, _PAD), mode="circular")
        field = F.interpolate(padded, scale_factor=2.0, mode="bicubic", align_corners=False)
        field = field[..., 2 * _PAD : -2 * _PAD, 2 * _PAD : -2 * _PAD]
        octaves -= 1
        amplitude *= gain
        if octaves > 0:
            field = field + amplitude * _white(rng, (field.shape[-2], field.shape[-1]))
    field = field[0, 0]
    assert field.shape == shape, "shape must be cells times a power of two"
    return (field - field.mean()) / field.std()


def smooth_signal(
    rng: np.random.Generator, length: int, knots: int, channels: int
) -> Float[Tensor, "length channels"]:
    """A smooth random function of time: a Catmull-Rom-like spline through `knots` normal values.

    Args:
        rng: source of randomness.
        length: number of samples.
        knots: number of random values the curve is drawn through; more knots, faster motion.
        channels: independent functions, one a column.
    """
    values = torch.from_numpy(rng.standard_normal((1, channels, 1, knots), dtype=np.float32))
    curve = F.interpolate(values, size=(1, length), mode="bicubic", align_corners=True)
    return curve[0, :, 0].T.contiguous()


def _white(rng: np.random.Generator, shape: tuple[int, int]) -> Float[Tensor, "1 1 rows cols"]:
    return torch.from_numpy(rng.standard_normal((1, 1, *shape), dtype=np.float32))
