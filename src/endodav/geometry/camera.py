"""Pinhole cameras and rigid motions, as pure functions of tensors.

Conventions, used everywhere in this package:

* Camera frame: x right, y down, z forward (OpenCV). Depth means Z-depth, not distance along the
ray. * Pixel (column u, row v): integers are pixel centres, so an image covers [-0.5, width - 0.5].
* A rigid motion is a 4x4 matrix named `T_dst_from_src`; it maps homogeneous points of frame `src`
to
  frame `dst`, so that inner names cancel: `T_a_from_c = T_a_from_b @ T_b_from_c`.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def intrinsics_from_fov(height: int, width: int, horizontal_fov: float) -> Float[Tensor, "3 3"]:
    """Intrinsics of an ideal camera with square pixels and a centred principal point.

    Args:
        height: rows of the image.
        width: columns of the image.
        horizontal_fov: angle in degrees between the left and the right image edge.

    >>> intrinsics_from_fov(2, 4, 90.0)
    tensor([[2.0000, 0.0000, 1.5000],
            [0.0000, 2.0000, 0.5000],
            [0.0000, 0.0000, 1.0000]])
    """
    focal = 0.5 * width / math.tan(math.radians(horizontal_fov) / 2)
    return torch.tensor(
        [[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]]
    )


def pixel_grid(
    height: int, width: int, device: torch.device | str = "cpu"
) -> Float[Tensor, "height width 2"]:
    """The coordinates (u, v) of every pixel centre.

    >>> pixel_grid(2, 2)[1, 0]
    tensor([0., 1.])
    """
    v, u = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=device),
        torch.arange(width, dtype=torch.float32, device=device),
        indexing="ij",
    )
    return torch.stack([u, v], dim=-1)


def unproject(
    pixels: Float[Tensor, "*batch 2"],
    depth: Float[Tensor, "*#batch"],
    intrinsics: Float[Tensor, "3 3"],
) -> Float[Tensor, "*batch 3"]:
    """Points in the camera frame, in the unit of `depth`, at Z-depth `depth` behind `pixels`.

    >>> K = intrinsics_from_fov(2, 4, 90.0)
    >>> unproject(torch.tensor([3.5, 0.5]), torch.tensor(10.0), K)
    tensor([10.,  0., 10.])
    """
    u, v = pixels.unbind(-1)
    x = (u - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (v - intrinsics[1, 2]) / intrinsics[1, 1]
    return torch.stack([x, y, torch.ones_like(x)], dim=-1) * depth.unsqueeze(-1)


def project(
    points: Float[Tensor, "*batch 3"], intrinsics: Float[Tensor, "3 3"]
) -> tuple[Float[Tensor, "*batch 2"], Float[Tensor, "*batch"]]:
    """Pixel coordinates and Z-depth of points in the camera frame; the inverse of `unproject`.

    Points with Z <= 0 lie behind the camera: their pixel is meaningless, their depth says so.

    >>> pixel, depth = project(torch.tensor([10.0, 0.0, 10.0]), intrinsics_from_fov(2, 4, 90.0))
    >>> pixel, depth
    (tensor([3.5000, 0.5000]), tensor(10.))
    """
    x, y, z = points.unbind(-1)
    u = intrinsics[0, 0] * x / z + intrinsics[0, 2]
    v = intrinsics[1, 1] * y / z + intrinsics[1, 2]
    return torch.stack([u, v], dim=-1), z


def transform_points(
    T_dst_from_src: Float[Tensor, "4 4"], points: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3"]:
    """The same points, expressed in frame `dst`.

    >>> T = rigid(torch.eye(3), torch.tensor([0.0, 0.0, 5.0]))
    >>> transform_points(T, torch.tensor([1.0, 2.0, 3.0]))
    tensor([1., 2., 8.])
    """
    return points @ T_dst_from_src[:3, :3].T + T_dst_from_src[:3, 3]


def rigid(
    rotation: Float[Tensor, "*batch 3 3"], translation: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 4 4"]:
    """The 4x4 matrix of a rotation followed by a translation.

    >>> rigid(torch.eye(3), torch.tensor([1.0, 2.0, 3.0]))[:, 3]
    tensor([1., 2., 3., 1.])
    """
    top = torch.cat([rotation, translation.unsqueeze(-1)], dim=-1)
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=top.dtype, device=top.device)
    return torch.cat([top, bottom.expand_as(top[..., :1, :])], dim=-2)


def invert(T_dst_from_src: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """`T_src_from_dst`, by transposing the rotation instead of a general inverse.

    >>> invert(rigid(torch.eye(3), torch.tensor([1.0, 2.0, 3.0])))[:3, 3]
    tensor([-1., -2., -3.])
    """
    rotation = T_dst_from_src[..., :3, :3].mT
    return rigid(rotation, -(rotation @ T_dst_from_src[..., :3, 3:]).squeeze(-1))


def rotation_from_axis_angle(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation about `axis_angle` by its length in radians: the exponential map of SO(3).

    >>> rotation_from_axis_angle(torch.tensor([0.0, 0.0, math.pi / 2])).round().abs()[0]
    tensor([0., 1., 0.])
    """
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [torch.stack(row, -1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    rotation: Tensor = torch.linalg.matrix_exp(torch.stack(rows, dim=-2))
    return rotation


def look_at(
    position: Float[Tensor, "*batch 3"],
    target: Float[Tensor, "*batch 3"],
    down: Float[Tensor, " 3"],
) -> Float[Tensor, "*batch 4 4"]:
    """`T_world_from_camera` of a camera at `position` whose z axis passes through `target`.

    Args:
        position: camera centre in the world.
        target: a point in front of the camera; must differ from `position`.
        down: the world direction that becomes image-down as nearly as possible; must not be
            parallel to the viewing direction.

    >>> ahead, down = torch.tensor([0.0, 0.0, 2.0]), torch.tensor([0.0, 1.0, 0.0])
    >>> look_at(torch.zeros(3), ahead, down)[:3, :3]
    tensor([[1., 0., 0.],
            [0., 1., 0.],
            [0., 0., 1.]])
    """
    z = F.normalize(target - position, dim=-1)
    x = F.normalize(torch.linalg.cross(down.expand_as(z), z, dim=-1), dim=-1)
    y = torch.linalg.cross(z, x, dim=-1)
    return rigid(torch.stack([x, y, z], dim=-1), position)
