"""Where an endoscope's image is an image: its field of view, and the highlights in it.

Scopes show a disc, an octagon or a rectangle on black, sometimes with text beside it. The field of
view is found from a few frames: what is ever brighter than the black around it belongs to it, and
a shape through its outline fills in what was too dark to see.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from endodav.errors import RecipeError
from endodav.types import RGBImage

WORKING_SIDE = 160  # pixels of the longer side of the maps that the outline is found on
BLACK_AT_MOST = 30.0  # of 255; no corner darker than this means that the image fills the frame
ABOVE_BLACK = 5.0  # of 255: compression and sensor noise of what should be black
WHOLE = 0.985  # of the frame covered: no border worth masking
RECTANGLE_FILL = 0.975  # of its bounding box covered
ELSEWHERE = 0.1  # of what is lit lies outside: what seemed black is only a dark scene
MIN_AREA = 0.05  # of the frame; less is text or a light, no field of view
CIRCLE_TOLERANCE = 1.0  # pixels of the working map between an outline point and its circle
CIRCLE_OUTSIDE = 0.03  # of the outline that may lie outside the circle
CIRCLE_TRIALS = 500
MIN_ARC = math.radians(75)  # of the circle that is seen; where it is not, the scene is dark
MIN_PIECE = math.radians(40)  # the corners of an octagon follow its circle for less
SECTORS = 72

WHITE = 0.8  # of the least colour channel: a highlight wherever it is
GLOWING = 0.5  # a highlight if its surroundings are darker by
CONTRAST = 0.2
SURROUNDINGS = 0.1  # of the shorter side, window of the mean that a highlight stands out of
HALO = 0.006  # of the shorter side, by which highlights are widened

Mask = Bool[np.ndarray, "height width"]
Points = NDArray[np.float64]  # [points, 2], x and y


@dataclass(frozen=True)
class Whole:
    """Every pixel."""

    def mask(self, height: int, width: int) -> Mask:
        """Pixels inside."""
        return np.ones((height, width), dtype=bool)

    def __str__(self) -> str:
        return "none"


@dataclass(frozen=True)
class Circle:
    """A disc, which the frame may cut.

    Attributes:
        x: column of the centre, in pixels.
        y: row of the centre.
        radius: in pixels.
    """

    x: float
    y: float
    radius: float

    def mask(self, height: int, width: int) -> Mask:
        """Pixels inside."""
        rows, columns = np.ogrid[:height, :width]
        return np.asarray((columns - self.x) ** 2 + (rows - self.y) ** 2 <= self.radius**2)

    def __str__(self) -> str:
        return f"circle:{self.x:.0f},{self.y:.0f},{self.radius:.0f}"


@dataclass(frozen=True)
class Rectangle:
    """An upright rectangle.

    Attributes:
        x: first column.
        y: first row.
        width: in pixels.
        height: in pixels.
    """

    x: float
    y: float
    width: float
    height: float

    def mask(self, height: int, width: int) -> Mask:
        """Pixels inside."""
        rows, columns = np.ogrid[:height, :width]
        across = (columns >= self.x) & (columns < self.x + self.width)
        return np.asarray(across & (rows >= self.y) & (rows < self.y + self.height))

    def __str__(self) -> str:
        return f"rect:{self.x:.0f},{self.y:.0f},{self.width:.0f},{self.height:.0f}"


@dataclass(frozen=True)
class Polygon:
    """A convex polygon, such as the octagon of many colonoscopes.

    Attributes:
        corners: (x, y) in pixels, in turn.
    """

    corners: tuple[tuple[float, float], ...]

    def mask(self, height: int, width: int) -> Mask:
        """Pixels inside."""
        rows, columns = np.ogrid[:height, :width]
        inside = np.ones((height, width), dtype=bool)
        for (x, y), (next_x, next_y) in zip(
            self.corners, (*self.corners[1:], self.corners[0]), strict=True
        ):
            inside &= (next_x - x) * (rows - y) - (next_y - y) * (columns - x) >= 0
        return inside

    def __str__(self) -> str:
        return "polygon:" + ",".join(f"{x:.0f},{y:.0f}" for x, y in self.corners)


FieldOfView = Whole | Circle | Rectangle | Polygon


def parse_field_of_view(text: str) -> FieldOfView:
    """The field of view a user gives: `circle:x,y,r`, `rect:x,y,w,h` or `none`, in pixels.

    Raises:
        RecipeError: it is neither.

    >>> parse_field_of_view("circle:640,360,350")
    Circle(x=640.0, y=360.0, radius=350.0)
    """
    if text == "none":
        return Whole()
    shape, _, rest = text.partition(":")
    number = r"-?\d+(?:\.\d+)?"
    found = re.fullmatch(rf"{number}(?:,{number})*", rest)
    values = [float(value) for value in rest.split(",")] if found else []
    if shape == "circle" and len(values) == 3 and values[2] > 0:
        return Circle(*values)
    if shape == "rect" and len(values) == 4 and min(values[2:]) > 0:
        return Rectangle(*values)
    raise RecipeError(
        f"'{text}' is no field of view; write circle:x,y,r or rect:x,y,w,h in pixels, or none."
    )


def detect_field_of_view(frames: Sequence[RGBImage]) -> FieldOfView:
    """What of the frame a few frames of one video show.

    A disc is filled in where half of its outline is lit in any of the frames; other outlines
    become their bounding box or convex hull. Where no border is found it is the whole frame.

    Args:
        frames: of the same size; the further apart, the more of the outline is lit at times.
    """
    height, width = frames[0].shape[:2]
    brightest = _brightest(frames)
    above_black = _lit(brightest)
    lit = _largest_region(above_black)
    if lit.mean() < MIN_AREA:
        return Whole()
    hull = _convex_hull(_outline(lit))
    shape = Polygon(tuple((float(x), float(y)) for x, y in hull))
    filled = shape.mask(*lit.shape)
    elsewhere = (above_black & ~filled).sum() / above_black.sum()
    if filled.mean() > WHOLE or elsewhere > ELSEWHERE:
        return Whole()
    scale = np.array([width / lit.shape[1], height / lit.shape[0]])
    circle = _fit_circle(_free(_outline(filled), lit.shape), sum(lit.shape))
    if circle is not None:
        x, y = (np.array([circle.x, circle.y]) + 0.5) * scale - 0.5
        return Circle(float(x), float(y), float(circle.radius * scale.mean()))
    low, high = hull.min(axis=0), hull.max(axis=0) + 1
    if filled.sum() > RECTANGLE_FILL * np.prod(high - low):
        (x, y), (across, down) = low * scale, (high - low) * scale
        return Rectangle(float(x), float(y), float(across), float(down))
    corners = (hull + 0.5) * scale - 0.5
    return Polygon(tuple((float(x), float(y)) for x, y in corners))


def highlight_mask(images: Float[Tensor, "*batch 3 height width"]) -> Bool[Tensor, "*batch 1 h w"]:
    """Specular highlights: white, or whitish and much brighter than what lies around; widened.

    They move over the surface with the light, so what they show is not where the surface is.

    Args:
        images: RGB in 0..1.
    """
    flat = images.reshape(-1, *images.shape[-3:])
    side = min(flat.shape[-2:])
    white = flat.amin(dim=1, keepdim=True)
    around = _odd(SURROUNDINGS * side)
    mean = F.avg_pool2d(white, around, 1, around // 2, count_include_pad=False)
    found = (white > WHITE) | ((white > GLOWING) & (white - mean > CONTRAST))
    halo = _odd(2 * HALO * side)
    widened = F.max_pool2d(found.to(white.dtype), halo, 1, halo // 2) > 0
    return widened.view(*images.shape[:-3], 1, *images.shape[-2:])


def _odd(length: float) -> int:
    return 2 * int(length / 2) + 1


def _brightest(frames: Sequence[RGBImage]) -> Float32[np.ndarray, "rows columns"]:
    """The most that each cell of a small map ever shows, a mean over the cell's pixels."""
    height, width = frames[0].shape[:2]
    scale = min(1.0, WORKING_SIDE / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    cells = np.zeros(size, dtype=np.float32)
    for frame in frames:
        value = torch.from_numpy(np.ascontiguousarray(frame.max(axis=2))).float()[None, None]
        cells = np.maximum(cells, F.adaptive_avg_pool2d(value, size)[0, 0].numpy())
    return cells


def _lit(brightest: Float32[np.ndarray, "rows columns"]) -> Mask:
    """Cells brighter than the black of the darkest corner."""
    corner = max(2, min(brightest.shape) // 20)
    ends = (slice(None, corner), slice(-corner, None))
    black = min(float(np.median(brightest[rows, columns])) for rows in ends for columns in ends)
    if black > BLACK_AT_MOST:
        return np.ones_like(brightest, dtype=bool)
    return np.asarray(brightest > black + ABOVE_BLACK)


def _largest_region(lit: Mask) -> Mask:
    """The largest connected part, without specks and lines of one cell (text, a frame)."""
    opened = _dilate(~_dilate(~torch.from_numpy(lit)))
    labels = torch.arange(1, opened.numel() + 1).view(opened.shape) * opened
    while True:  # every part takes on its largest number
        spread = F.max_pool2d(labels[None, None].float(), 3, 1, 1)[0, 0].long() * opened
        if torch.equal(spread, labels):
            break
        labels = spread
    if not opened.any():
        return opened.numpy()
    largest = labels[opened].mode().values
    return np.asarray((labels == largest).numpy())


def _dilate(mask: Tensor) -> Tensor:
    return F.max_pool2d(mask[None, None].float(), 3, 1, 1)[0, 0] > 0


def _outline(region: Mask) -> Points:
    """The first and last cell of the region in each row and each column."""
    points = []
    for axis in (0, 1):
        lines = region if axis == 0 else region.T
        numbers = np.flatnonzero(lines.any(axis=1))
        first = lines[numbers].argmax(axis=1)
        last = lines.shape[1] - 1 - lines[numbers, ::-1].argmax(axis=1)
        for places in (first, last):
            pair = (places, numbers) if axis == 0 else (numbers, places)
            points.append(np.stack(pair, axis=1))
    return np.unique(np.concatenate(points), axis=0).astype(np.float64)


def _free(points: Points, shape: tuple[int, ...]) -> Points:
    """Points that the border of the frame does not hold."""
    last = np.array(shape[::-1]) - 1
    return points[((points > 0) & (points < last)).all(axis=1)]


def _convex_hull(points: Points) -> Points:
    """Corners in turn, by Andrew's monotone chain; `points` are sorted by x, then y."""

    def chain(ordered: Points) -> list[NDArray[np.float64]]:
        corners: list[NDArray[np.float64]] = []
        for point in ordered:
            while len(corners) > 1 and _turn(corners[-2], corners[-1], point) <= 0:
                corners.pop()
            corners.append(point)
        return corners[:-1]

    return np.array(chain(points) + chain(points[::-1]))


def _turn(a: Points, b: Points, c: Points) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _fit_circle(outline: Points, longest: float) -> Circle | None:
    """The circle that long arcs of the outline lie on, and next to nothing outside (RANSAC)."""
    if len(outline) < SECTORS // 6:
        return None
    rng = np.random.default_rng(0)
    triples = outline[rng.integers(len(outline), size=(CIRCLE_TRIALS, 3))]
    beyond = np.stack([_beyond(circle, outline) for circle in _circles_through(triples, longest)])
    off = (beyond > CIRCLE_TOLERANCE).mean(axis=1) > CIRCLE_OUTSIDE
    on = (np.abs(beyond) < CIRCLE_TOLERANCE) & ~off[:, None]
    best = on[on.sum(axis=1).argmax()]
    if best.sum() < SECTORS // 6:
        return None
    (circle,) = _circles_through(outline[None, best], longest) or (None,)
    return circle if circle is not None and _arc(circle, outline) > MIN_ARC else None


def _circles_through(points: NDArray[np.float64], longest: float) -> list[Circle]:
    """Least squares for x^2 + y^2 = 2 a x + 2 b y + c in each set of points (Kasa 1976)."""
    system = np.concatenate([2 * points, np.ones_like(points[..., :1])], axis=-1)
    squares = (points**2).sum(axis=-1, keepdims=True)
    solutions = (np.linalg.pinv(system) @ squares)[..., 0]
    found = [Circle(a, b, math.sqrt(max(0.0, c + a * a + b * b))) for a, b, c in solutions.tolist()]
    return [circle for circle in found if circle.radius < longest]


def _beyond(circle: Circle, points: Points) -> NDArray[np.float64]:
    """How far outside the circle points lie."""
    return np.asarray(np.hypot(points[:, 0] - circle.x, points[:, 1] - circle.y) - circle.radius)


def _arc(circle: Circle, outline: Points) -> float:
    """Angle of the circle that the outline follows, in pieces that no polygon's corner explains."""
    angles = np.arctan2(outline[:, 1] - circle.y, outline[:, 0] - circle.x)
    sectors = np.floor((angles / (2 * math.pi) + 0.5) * SECTORS).astype(int) % SECTORS
    on = np.abs(_beyond(circle, outline)) < CIRCLE_TOLERANCE
    followed = np.bincount(sectors, on, SECTORS) > 0.5 * np.bincount(sectors, minlength=SECTORS)
    if followed.all():
        return 2 * math.pi
    ring = np.roll(followed, -int(followed.argmin()))
    ends = np.flatnonzero(np.diff(ring.astype(int), append=0) < 0)
    starts = np.flatnonzero(np.diff(ring.astype(int), prepend=0) > 0)
    lengths = (ends + 1 - starts) * 2 * math.pi / SECTORS
    return float(lengths[lengths >= MIN_PIECE].sum())
