"""C3VD (Bobrow et al. 2023): a colonoscope in silicone phantoms, registered to their true shape."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from endodav.data.dataset import Clip, Dataset, Range
from endodav.data.files import (
    LARGEST_CODE,
    at_rate,
    depth_codes,
    find_places,
    images_in,
    number_of,
    numbered,
    place_name,
    read_numbers,
    write_codes,
    write_images,
    write_numbers,
)
from endodav.data.poses import pinhole
from endodav.data.sequence import Distortion, Flag, FrameRef, Intrinsics, LensModel, Sequence
from endodav.errors import InputError

FPS = 30.0
UNIT_MM = 100.0 / LARGEST_CODE  # 16 bits stand for 0 to 100 mm
SIZE = (1080, 1350)
# The calibration published with the data; a0 is the focal length at the centre.
CENTRE = (679.544839263292, 543.975887548343)
OMNIDIRECTIONAL = (
    769.243600037458,
    -0.000812770624150226,
    6.25674244578925e-07,
    -1.19662182144280e-09,
    0.999986882249990,
    0.00288273829525059,
    -0.00296316513429569,
)


def _locate(root: Path) -> list[Path]:
    return find_places(root, "*_color.png")


def _read(root: Path, place: Path) -> Sequence:
    images = images_in(place, "*_color.png")
    depths = numbered(place, "*_depth.tiff")
    # a line is a matrix in column-major order
    poses = read_numbers(place / "pose.txt", 16).reshape(-1, 4, 4).transpose(0, 2, 1)
    if len(poses) != len(images):
        raise InputError(f"{place} has {len(images)} images but {len(poses)} lines in pose.txt.")
    refs = tuple(
        FrameRef(image, depths.get(number_of(image)), at_rate(index, FPS), pose)
        for index, (image, pose) in enumerate(zip(images.values(), poses, strict=True))
    )
    intrinsics, distortion = _camera(place, next(iter(images.values())))
    return Sequence(
        dataset=DATASET.name,
        name=place_name(root, place),
        refs=refs,
        read_depth=depth_codes(UNIT_MM),
        intrinsics=intrinsics,
        distortion=distortion,
        flags=frozenset() if distortion is None else frozenset({Flag.FISHEYE}),
    )


def _camera(place: Path, image: Path) -> tuple[Intrinsics | None, Distortion | None]:
    """The phantom camera's calibration for its picture size; K.txt for clips written by us."""
    if (place / "K.txt").exists():
        return read_numbers(place / "K.txt", 3), None
    with Image.open(image) as picture:
        size = (picture.height, picture.width)
    if size != SIZE:
        return None, None
    focal = OMNIDIRECTIONAL[0]
    return pinhole(focal, focal, *CENTRE), Distortion(LensModel.OMNIDIRECTIONAL, OMNIDIRECTIONAL)


def _write(clip: Clip, root: Path, number: int) -> None:
    folder = root / f"rendered_t{number + 1}_a"
    write_images(folder, "{:04d}_color.png", clip.images)
    write_codes(folder, "{:04d}_depth.tiff", clip.depth, UNIT_MM)
    columns = clip.T_world_from_camera.transpose(0, 2, 1).reshape(-1, 16)
    write_numbers(folder / "pose.txt", columns, delimiter=",")
    write_numbers(folder / "K.txt", clip.intrinsics)


DATASET = Dataset(
    name="c3vd",
    title="C3VD",
    layout="folders with NNNN_color.png, NNNN_depth.tiff and pose.txt",
    locate=_locate,
    read=_read,
    range=Range.ENDOSCOPE,
    write=_write,
    step_mm=UNIT_MM,
)
