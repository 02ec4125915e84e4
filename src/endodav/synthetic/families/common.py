"""What scene families share: tissues, clearance, noise of the tables' sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from endodav.synthetic.appearance import TISSUES, linear, tissue
from endodav.synthetic.noise import fractal_noise
from endodav.synthetic.render import axial_coordinates, length, wall_gap
from endodav.synthetic.scene import Material, Scene, close_seam

CLEARANCE = 0.15  # free space around the camera, relative to the size of the scene
ATTEMPTS = 200  # random cameras tried until one is clear of the wall


@dataclass(frozen=True)
class Family:
    """A kind of scene.

    Attributes:
        draw: from randomness and the number of frames to a scene.
        weight: how often it is drawn, relative to the others.
        field_of_view: range of the horizontal field of view in degrees.
    """

    draw: Callable[[np.random.Generator, int], Scene]
    weight: float
    field_of_view: tuple[float, float]


def clearance(scene: Scene) -> float:
    """A lower bound in mm of how near the camera comes to anything; negative inside of a wall."""
    centres = scene.T_world_from_camera[:, :3, 3].T.contiguous()
    frames = torch.arange(centres.shape[1])
    least = float(wall_gap(scene, frames)(centres, frames)[1].min())
    for cone in scene.solids:
        _, radius, offset = axial_coordinates(cone, centres, frames)
        least = min(least, float((length(offset) - radius).min()))
    return least


def find_clear(draw: Callable[[int], Scene], margin: float) -> Scene:
    """The first of many scenes whose camera keeps `margin` mm away from all, else the clearest.

    Args:
        draw: makes the scene of attempt 0, 1, ..., each with another camera.
        margin: in mm.
    """
    best, best_clearance = None, -math.inf
    for attempt in range(ATTEMPTS):
        scene = draw(attempt)
        found = clearance(scene)
        if found > margin:
            return scene
        if best is None or found > best_clearance:
            best, best_clearance = scene, found
    assert best is not None
    return best


def lining(rng: np.random.Generator, tissues: tuple[str, ...], tile: float) -> Material:
    """A tissue of one colour all over, with patches of another."""
    base, other = tone(rng, tissues), tone(rng, tissues)
    return tissue(rng, base, (other / base)[:, 0, 0].clamp(0.3, 2), tile)


def tone(rng: np.random.Generator, tissues: tuple[str, ...]) -> Float[Tensor, "3 1 1"]:
    """One of the tissues' colours, a little changed."""
    tint = torch.tensor(np.exp(rng.normal(0, 0.07, 3) + rng.normal(0, 0.1))).float()
    return linear(TISSUES[str(rng.choice(tissues))]) * tint[:, None, None]


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A random number whose order of magnitude is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def closed_noise(
    rng: np.random.Generator,
    cells: tuple[int, int],
    shape: tuple[int, int],
    octaves: int = 20,
    gain: float = 0.5,
) -> Float[Tensor, "rows_and_one cols_and_one"]:
    """Fractal noise whose first row and column come again after the last."""
    return close_seam(fractal_noise(rng, shape, cells, octaves, gain))
