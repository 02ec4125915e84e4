"""COLMAP's reconstructions: images, poses up to scale, and depth at the points alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from endodav.data.colmap_model import PIXEL_CENTRE, Camera, Image, Model, read_model
from endodav.data.dataset import Clip, Dataset, Range
from endodav.data.files import at_rate, find_places, place_name, write_images, write_text
from endodav.data.poses import inverted, to_quaternion
from endodav.data.sequence import Flag, FrameRef, Sequence
from endodav.errors import InputError
from endodav.types import DepthMap, Units
from endodav.video.images import natural_key

NOMINAL_FPS = 25.0
POINT_SPACING = 4  # pixels between the points of a written clip


def _locate(root: Path) -> list[Path]:
    return find_places(root, "images", "sparse")


def _read(root: Path, place: Path) -> Sequence:
    folder = place / "sparse" / "0"
    folder = folder if folder.is_dir() else folder.parent
    model = read_model(folder)
    images = {
        place / "images" / image.name: image
        for image in sorted(model.images, key=lambda image: natural_key(Path(image.name)))
    }
    points = next(folder.glob("points3D.*"))

    def read_depth(ref: FrameRef) -> DepthMap:
        return _depth_at_points(images[ref.image], model)

    lenses = {model.cameras[image.camera].distortion for image in images.values()}
    if len(lenses) > 1:
        raise InputError(f"{folder} has images through different lenses; split them by camera.")
    return Sequence(
        dataset=DATASET.name,
        name=place_name(root, place),
        refs=tuple(
            FrameRef(
                path,
                points,
                at_rate(index, NOMINAL_FPS),
                inverted(image.T_camera_from_world),
                model.cameras[image.camera].intrinsics,
            )
            for index, (path, image) in enumerate(images.items())
        ),
        read_depth=read_depth,
        distortion=lenses.pop(),
        units=Units.UP_TO_SCALE,
        flags=frozenset({Flag.SPARSE}),
    )


def _depth_at_points(image: Image, model: Model) -> DepthMap:
    """Z of each observed point at the pixel where it was observed; the nearest where two meet."""
    camera: Camera = model.cameras[image.camera]
    depth = np.zeros((camera.height, camera.width), np.float32)
    if not len(image.points):
        return depth
    positions = np.stack([model.points[number] for number in image.points.tolist()])
    T = image.T_camera_from_world
    z = positions @ T[2, :3] + T[2, 3]
    columns, rows = np.rint(image.pixels).astype(int).T
    inside = (rows >= 0) & (rows < camera.height) & (columns >= 0) & (columns < camera.width)
    usable = np.flatnonzero(inside & (z > 0))
    farthest_first = usable[np.argsort(-z[usable])]
    depth[rows[farthest_first], columns[farthest_first]] = z[farthest_first]
    return depth


def _write(clip: Clip, root: Path, number: int) -> None:
    folder = root / f"rendered_{number:03d}"
    sparse = folder / "sparse" / "0"
    write_images(folder / "images", "{:05d}.png", clip.images)
    _, height, width = clip.depth.shape
    K = clip.intrinsics
    focal_and_centre = (K[0, 0], K[1, 1], K[0, 2] + PIXEL_CENTRE, K[1, 2] + PIXEL_CENTRE)
    write_text(sparse / "cameras.txt", f"1 PINHOLE {width} {height} {_join(focal_and_centre)}\n")
    images: list[str] = []
    points: list[str] = []
    for index, (depth, T) in enumerate(zip(clip.depth, clip.T_world_from_camera, strict=True)):
        rows, columns = np.nonzero(depth)
        on_grid = (rows % POINT_SPACING == 0) & (columns % POINT_SPACING == 0)
        rows, columns = rows[on_grid], columns[on_grid]
        rays = np.stack([columns, rows, np.ones_like(rows)]).T @ np.linalg.inv(K).T
        positions = rays * depth[rows, columns, None] @ T[:3, :3].T + T[:3, 3]
        ids = range(len(points) + 1, len(points) + 1 + len(positions))
        track = len(images) // 2 + 1
        points += [
            f"{identity} {_join(position)} 128 128 128 0 {track} {k}"
            for k, (identity, position) in enumerate(zip(ids, positions, strict=True))
        ]
        seen = zip(columns + PIXEL_CENTRE, rows + PIXEL_CENTRE, ids, strict=True)
        inverse = inverted(T)
        pose = (*np.roll(to_quaternion(inverse[:3, :3]), 1), *inverse[:3, 3])
        images.append(f"{index + 1} {_join(pose)} 1 {index:05d}.png")
        images.append(" ".join(f"{u} {v} {identity}" for u, v, identity in seen))
    write_text(sparse / "images.txt", "\n".join(images) + "\n")
    write_text(sparse / "points3D.txt", "\n".join(points) + "\n")


def _join(values: Iterable[float]) -> str:
    return " ".join(repr(float(value)) for value in values)


DATASET = Dataset(
    name="colmap",
    title="a COLMAP reconstruction",
    layout="images/ and sparse/0/ with cameras, images and points3D (.bin or .txt)",
    locate=_locate,
    read=_read,
    range=Range.ANY,
    write=_write,
)
