"""What can be rendered: walls, tabulated over charts of space, and solids in front of them.

A chart gives every point of space three numbers (u, v, height). A wall is the graph `height =
table(u, v)`: around a centre line that is a tube, over a plane it is a landscape. Looking a table
up while marching along a ray costs the same whatever shaped it, so scene families are free to be as
rich as they like. Space is free where it is inside of any wall, so tubes fork where they overlap.
A new family is a function that fills tables; a new chart is a class with three methods.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from endodav.geometry.camera import transform_points

ENVELOPE_REDUCTION = 4  # the envelope is computed on a table that much smaller

Part = TypeVar("Part")


@runtime_checkable
class Chart(Protocol):
    """Coordinates in which the wall is a graph."""

    def to_chart(self, points: Float[Tensor, "3 rays"]) -> tuple[Tensor, Tensor, Tensor]:
        """(u, v, height) of world points; the table covers [-1, 1] in u and v, height is in mm."""
        ...

    def to_world(self, coordinates: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """World points of positions given in mm (see each chart); the inverse of `to_chart`."""
        ...

    def outward(self, points: Float[Tensor, "3 rays"]) -> Float[Tensor, "3 rays"]:
        """Unit vectors along which the height grows while (u, v) stay."""
        ...


@dataclass(frozen=True)
class Wave:
    """A sinusoid along the arc length: amplitude in mm, frequency in rad/mm, phase in rad."""

    amplitude: float
    frequency: float
    phase: float

    def at(self, arc: Tensor) -> Tensor:
        """Its value in mm."""
        return self.amplitude * torch.sin(self.frequency * arc + self.phase)


@dataclass(frozen=True)
class TubeChart:
    """Cylinder coordinates around a winding centre line: u angle, v arc length, height radius.

    The centre line is a circular arc in the x-z plane, on which sinusoids add lateral windings.

    Attributes:
        half_length: arc length in mm from the middle of the tube to each end.
        curvature: of the arc, in 1/mm; its sign says to which side. Never exactly 0 (1e-9 is
            straight).
        waves: lateral windings in x and y.
    """

    half_length: float
    curvature: float
    waves: tuple[tuple[Wave, Wave], ...]

    def to_chart(self, points: Float[Tensor, "3 rays"]) -> tuple[Tensor, Tensor, Tensor]:
        """(angle / pi, arc length / half_length, radius in mm)."""
        x, y, z = points
        k = self.curvature
        across, along = 1 - k * x, k * z
        arc = torch.atan2(along, across) / k
        # x relative to the arc, in a form that stays accurate when the curvature goes to zero
        lateral = (2 * x - k * (x.square() + z.square())) / (1 + torch.hypot(across, along))
        centre_x, centre_y = self._centre(arc)
        dx, dy = lateral - centre_x, y - centre_y
        return torch.atan2(dy, dx) / torch.pi, arc / self.half_length, torch.hypot(dx, dy)

    def to_world(self, coordinates: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """World points of (x, y relative to the centre line, arc length), all in mm."""
        x, y, arc = coordinates.double().unbind(-1)
        centre_x, centre_y = self._centre(arc)
        angle = self.curvature * arc
        x, y = x + centre_x, y + centre_y
        bend = 2 * torch.sin(angle / 2).square() / self.curvature
        forward = torch.sin(angle) * (1 / self.curvature - x)
        return torch.stack([x * torch.cos(angle) + bend, y, forward], dim=-1).float()

    def outward(self, points: Float[Tensor, "3 rays"]) -> Float[Tensor, "3 rays"]:
        """Away from the centre line, within the cross-section."""
        u, v, _ = self.to_chart(points)
        around, along = torch.pi * u, self.curvature * self.half_length * v
        across = torch.cos(around)
        return torch.stack(
            [across * torch.cos(along), torch.sin(around), -across * torch.sin(along)]
        )

    def _centre(self, arc: Tensor) -> tuple[Tensor, Tensor]:
        x, y = torch.zeros_like(arc), torch.zeros_like(arc)
        for wave_x, wave_y in self.waves:
            x = x + wave_x.at(arc)
            y = y + wave_y.at(arc)
        return x, y


@dataclass(frozen=True)
class PlaneChart:
    """Cartesian coordinates: u and v are x and y, height is z; the free space lies at smaller z.

    Attributes:
        half_size: half the edge in mm of the square that the table covers.
    """

    half_size: float

    def to_chart(self, points: Float[Tensor, "3 rays"]) -> tuple[Tensor, Tensor, Tensor]:
        """(x / half_size, y / half_size, z in mm)."""
        return points[0] / self.half_size, points[1] / self.half_size, points[2]

    def to_world(self, coordinates: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """World points of (x, y, z) in mm: the identity."""
        return coordinates

    def outward(self, points: Float[Tensor, "3 rays"]) -> Float[Tensor, "3 rays"]:
        """Into the plane."""
        return points.new_tensor([0.0, 0.0, 1.0])[:, None].expand_as(points)


@dataclass(frozen=True)
class PlacedChart:
    """A chart moved and turned as a whole: the branch of a forking tube.

    Attributes:
        chart: the coordinates.
        T_world_from_chart: where its own world lies.
    """

    chart: Chart
    T_world_from_chart: Float[Tensor, "4 4"]

    def to_chart(self, points: Float[Tensor, "3 rays"]) -> tuple[Tensor, Tensor, Tensor]:
        """As the chart's own."""
        return self.chart.to_chart(self._to_own(points))

    def to_world(self, coordinates: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """As the chart's own."""
        return transform_points(self.T_world_from_chart, self.chart.to_world(coordinates))

    def outward(self, points: Float[Tensor, "3 rays"]) -> Float[Tensor, "3 rays"]:
        """As the chart's own."""
        return self.T_world_from_chart[:3, :3] @ self.chart.outward(self._to_own(points))

    def _to_own(self, points: Tensor) -> Tensor:
        T = self.T_world_from_chart
        return T[:3, :3].T @ (points - T[:3, 3:])


@dataclass(frozen=True)
class Material:
    """What a surface looks like.

    Attributes:
        albedo: linear RGB over the surface's own (v, u).
        detail: a tile that repeats through the world; a factor on the albedo, then a vector that
            tilts the normal of the wet film.
        tile: edge in mm of the detail tile.
        specular: strength of the highlights.
        shininess: exponent of the highlights (Blinn).
    """

    albedo: Float[Tensor, "3 rows cols"]
    detail: Float[Tensor, "6 tile_rows tile_cols"]
    tile: float
    specular: float
    shininess: float


@dataclass(frozen=True)
class Wall:
    """The graph of a table over a chart; free space has positive `gap`.

    Attributes:
        chart: the coordinates.
        layers: four tables over (v, u) in mm: the height, its two changes at full deformation, and
            a lower envelope of the height with slope at most 1 (see `wall_layers`), whatever the
            deformation.
        spacing: size in mm of a table cell.
        material: its look, over the same (v, u).
    """

    chart: Chart
    layers: Float[Tensor, "4 rows cols"]
    spacing: float
    material: Material

    def gap(
        self, points: Float[Tensor, "3 rays"], deformation: Float[Tensor, "rays 2"]
    ) -> tuple[Float[Tensor, " rays"], Float[Tensor, " rays"]]:
        """How far the wall lies above the points: exactly (zero on it), and a safe lower bound."""
        u, v, height = self.chart.to_chart(points)
        surface, first, second, envelope = sample_table(self.layers, u, v)
        surface = surface + deformation[:, 0] * first + deformation[:, 1] * second
        return surface - height, envelope - height


@dataclass(frozen=True)
class RoundCone:
    """A sphere swept along a segment while its radius changes linearly: shafts, jaws, soft organs.

    Attributes:
        start: centre of the first end in the world, a frame, in mm.
        end: centre of the second end.
        radii: of the two ends in mm.
        material: its look, u around the axis and v along it.
    """

    start: Float[Tensor, "time 3"]
    end: Float[Tensor, "time 3"]
    radii: tuple[float, float]
    material: Material

    def every(self, stride: int) -> RoundCone:
        """The same in every `stride`-th frame only."""
        return replace(self, start=self.start[::stride], end=self.end[::stride])


@dataclass(frozen=True)
class Scene:
    """Everything that is there, for every frame of a clip.

    Attributes:
        walls: what is inside of any of them is free space.
        solids: what lies in it.
        deformation: how much of the two changes of each wall there is in each frame, in [-1, 1]:
            two, so that a wave can travel.
        T_world_from_camera: the trajectory of the camera.
    """

    walls: tuple[Wall, ...]
    solids: tuple[RoundCone, ...]
    deformation: Float[Tensor, "time 2"]
    T_world_from_camera: Float[Tensor, "time 4 4"]

    def every(self, stride: int) -> Scene:
        """The same in every `stride`-th frame only."""
        return replace(
            self,
            solids=tuple(solid.every(stride) for solid in self.solids),
            deformation=self.deformation[::stride],
            T_world_from_camera=self.T_world_from_camera[::stride],
        )


def wall_layers(
    height: Float[Tensor, "rows cols"],
    changes: Float[Tensor, "2 rows cols"],
    spacing: tuple[float, float],
) -> Float[Tensor, "4 rows cols"]:
    """Stack a wall's height and deformation with the envelope that makes large steps safe.

    A fold hides from a point that only knows the height at its own (u, v). The envelope
    min over q of height(q) + |p - q| knows: it has slope at most 1, so a ray may advance by it,
    times 1/sqrt(2), and never pass a fold. It is the erosion of the height by a cone, found by
    relaxation.

    Args:
        height: of the wall in mm; rows and columns are one more than a multiple of the reduction,
            and the last column repeats the first (`close_seam`).
        changes: what is added to it at full deformation of each kind.
        spacing: of the table in mm, along rows and columns.
    """
    lowest = height - changes.abs().sum(0)
    k = ENVELOPE_REDUCTION
    coarse = -F.max_pool2d(-lowest[None, None], 2 * k + 1, stride=k, padding=k)[..., :-1]
    rows, cols = spacing[0] * k, spacing[1] * k
    diagonal = (rows**2 + cols**2) ** 0.5
    reach = float(coarse.max() - coarse.min())
    for _ in range(int(reach / min(rows, cols)) + 1):
        around = F.pad(F.pad(coarse, (1, 1, 0, 0), mode="circular"), (0, 0, 1, 1), mode="replicate")
        by_row = rows - F.max_pool2d(-around[..., 1:-1], (3, 1), 1)
        by_col = cols - F.max_pool2d(-around[..., 1:-1, :], (1, 3), 1)
        by_both = diagonal - F.max_pool2d(-around, 3, 1)
        relaxed = torch.minimum(torch.minimum(coarse, by_row), torch.minimum(by_col, by_both))
        if torch.equal(relaxed, coarse):
            break
        coarse = relaxed
    coarse = torch.cat([coarse, coarse[..., :1]], dim=-1)
    envelope = F.interpolate(coarse, height.shape, mode="bilinear", align_corners=True)[0, 0]
    return torch.stack([height, *changes, torch.minimum(envelope, lowest)])


def sample_table(
    table: Float[Tensor, "channels rows cols"], u: Float[Tensor, " rays"], v: Float[Tensor, " rays"]
) -> Float[Tensor, "channels rays"]:
    """Bilinear look-up at (u, v) in [-1, 1]; beyond the border the border's value."""
    grid = torch.stack([u, v], dim=-1)[None, None]
    return F.grid_sample(
        table[None], grid, mode="bilinear", padding_mode="border", align_corners=True
    )[0, :, 0]


def close_seam(table: Float[Tensor, "*channels rows cols"]) -> Float[Tensor, "*channels _ _"]:
    """Repeat the first row and column after the last: look-ups from -1 to 1 become periodic."""
    return (
        F.pad(table[None, None], (0, 1, 0, 1), mode="circular")[0, 0]
        if table.ndim == 2
        else (F.pad(table[None], (0, 1, 0, 1), mode="circular")[0])
    )


def to_device(part: Part, device: torch.device) -> Part:
    """A copy of a scene, or of any of its parts, with every tensor on `device`."""
    moved: dict[str, Any] = {}
    for field in fields(part):  # type: ignore[arg-type]
        value = getattr(part, field.name)
        moved[field.name] = _move(value, device)
    return replace(part, **moved)  # type: ignore[type-var]


def _move(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(_move(item, device) for item in value)
    return to_device(value, device) if hasattr(value, "__dataclass_fields__") else value
