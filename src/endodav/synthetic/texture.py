"""Patterns of tissue: vessels, pits, lobules, fibres, stains. All are tiles that repeat.

Each function draws a field over the tile, 0 (absent) to 1 (full), unless it says otherwise.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

from endodav.synthetic.noise import fractal_noise

SIDE = 512  # cells along each edge of a tile
SHAPE = (SIDE, SIDE)

Tile = Float[Tensor, "rows cols"]


def capillaries(rng: np.random.Generator, cells: int) -> Tile:
    """A web of thin lines: the zeros of a fractal field, of even width."""
    course = fractal_noise(rng, SHAPE, (cells, cells), octaves=4)
    slope = (course - course.roll(1, 0)).abs() + (course - course.roll(1, 1)).abs()
    width = rng.uniform(0.8, 2.2)  # cells of the texture
    return (1 - course.abs() / (width * slope + 1e-3)).clamp(0, 1)


def vessel_trees(rng: np.random.Generator) -> Tile:
    """Vessels that wind, fork and grow thinner: an artery's width^3 is that of its branches.

    Murray's law (1926). Drawn from the middle of a canvas of twice the size, which is then folded.
    """
    canvas = Image.new("L", (2 * SIDE, 2 * SIDE))
    draw = ImageDraw.Draw(canvas)
    buds = [
        (*rng.uniform(SIDE / 2, 1.5 * SIDE, 2), rng.uniform(0, 2 * np.pi), rng.uniform(2.5, 6))
        for _ in range(int(rng.integers(2, 6)))
    ]
    while buds:
        x, y, heading, width = buds.pop()
        for _ in range(int(rng.integers(4, 12))):
            heading += rng.normal(0, 0.35)
            step = rng.uniform(6, 14)
            following = (x + step * np.cos(heading), y + step * np.sin(heading))
            draw.line([(x, y), following], fill=int(min(255, 70 + 30 * width)), width=round(width))
            x, y = following
        if width > 1.6:
            share = rng.uniform(0.25, 0.75)
            turn = rng.uniform(0.3, 0.9)
            buds.append((x, y, heading + (1 - share) * turn, width * share ** (1 / 3)))
            buds.append((x, y, heading - share * turn, width * (1 - share) ** (1 / 3)))
    drawn = torch.from_numpy(np.asarray(canvas, dtype=np.float32) / 255)
    folded: Tensor = drawn.reshape(2, SIDE, 2, SIDE).amax((0, 2))
    return _smooth(folded)


def pits(rng: np.random.Generator) -> Tile:
    """Openings of the glands of mucosa: a fine regular grain of blobs or winding furrows."""
    cells = int(rng.choice([32, 64]))
    grain = fractal_noise(rng, SHAPE, (cells, cells), octaves=1)
    furrows = rng.random() < 0.4
    return torch.exp(-(4 * grain).square()) if furrows else (grain - 0.5).clamp(0, 1)


def lobules(rng: np.random.Generator) -> Tile:
    """Rounded cells with dark seams, as of fat: distance to the nearest of jittered points.

    Worley (1996). 1 in the middle of a lobule and 0 at its seam.
    """
    cells = int(rng.choice([8, 16]))
    sites = torch.from_numpy(rng.uniform(0.1, 0.9, (2, cells, cells)).astype(np.float32))
    size = SIDE // cells
    place = (torch.arange(size) + 0.5) / size
    nearest = torch.full((cells, size, cells, size), 9.0)
    for row in (-1, 0, 1):
        for col in (-1, 0, 1):
            y, x = sites.roll((-row, -col), (1, 2))
            dy = (y[:, None] + row)[..., None] - place[None, :, None, None]
            dx = (x + col)[:, None, :, None] - place[None, None, None, :]
            nearest = torch.minimum(nearest, dy.square() + dx.square())
    bend = fractal_noise(rng, SHAPE, (16, 16), octaves=3)
    return (1 - 1.1 * nearest.reshape(SHAPE) + 0.1 * bend).clamp(0, 1)


def fibres(rng: np.random.Generator) -> Tile:
    """Long bent strands of fascia, muscle or scar, with mean 0 and standard deviation 1."""
    stretch = 8
    short = fractal_noise(rng, (SIDE, SIDE // stretch), (32, 4), octaves=5, gain=0.8)
    padded = F.pad(short[None, None], (1, 1, 0, 0), mode="circular")
    long = F.interpolate(padded, scale_factor=(1, stretch), mode="bilinear", align_corners=False)
    strands = long[0, 0, :, stretch:-stretch]
    phase = torch.arange(SIDE) / SIDE * 2 * torch.pi
    turns = int(rng.integers(-1, 2))  # whole turns keep the tile's borders matched
    shift = SIDE * turns * phase / (2 * torch.pi) + rng.uniform(5, 40) * torch.sin(phase)
    rows = (torch.arange(SIDE)[:, None] + shift.long()[None, :]) % SIDE
    return strands.gather(0, rows)


def stains(rng: np.random.Generator) -> Tile:
    """Pools with wavering rims that cover a small part of the tile."""
    field = fractal_noise(rng, SHAPE, (4, 4), octaves=6)
    level = rng.uniform(0.8, 2)
    return ((field - level) * rng.uniform(2, 8)).clamp(0, 1)


def bubbles(rng: np.random.Generator) -> Float[Tensor, "2 rows cols"]:
    """Height gradient (rows, columns) of half-round bubbles in the film, in clusters."""
    height = torch.zeros(SHAPE)
    cluster = rng.uniform(0.1, 0.9, 2) * SIDE
    for _ in range(int(rng.integers(5, 40))):
        radius = int(rng.integers(2, 14))
        y, x = rng.normal(cluster, SIDE / 6).astype(int)
        axis = torch.arange(-radius, radius + 1)
        cap = (radius**2 - axis[:, None].square() - axis[None].square()).clamp_min(0).sqrt()
        rows, cols = (axis + y) % SIDE, (axis + x) % SIDE
        height[rows[:, None], cols] = torch.maximum(height[rows[:, None], cols], cap)
    return torch.stack([height - height.roll(1, 0), height - height.roll(1, 1)]).clamp(-1, 1)


def _smooth(tile: Tile) -> Tile:
    """A 3x3 box blur across the borders: no staircases on slanted lines."""
    return F.avg_pool2d(F.pad(tile[None, None], (1,) * 4, mode="circular"), 3, 1)[0, 0]
