"""Still images and frames in memory as sources."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from endodav.errors import InputError
from endodav.video.images import EXIF_ORIENTATION, natural_key, read_image
from endodav.video.source import ArraySource, open_source


def save_grey(path: Path, level: int, size: tuple[int, int] = (6, 8)) -> None:
    Image.fromarray(np.full((*size, 3), level, np.uint8)).save(path)


def levels(spec: Any, **options: Any) -> list[int]:
    with open_source(spec, **options) as source:
        return [int(frame.image[0, 0, 0]) for frame in source]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2, 10, 11):
        save_grey(tmp_path / f"img{number}.png", number)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "._img1.png").write_bytes(b"left by a file manager")
    return tmp_path


def test_a_folder_is_read_in_natural_order(folder: Path) -> None:
    assert levels(folder) == [1, 2, 10, 11]


def test_natural_order_mixes_numbers_and_text() -> None:
    names = ["b1", "a10", "a2", "a", "10", "9", "a2b", "A3"]
    ordered = sorted(map(Path, names), key=natural_key)
    assert [path.name for path in ordered] == ["9", "10", "a", "a2", "a2b", "A3", "a10", "b1"]


def test_a_glob_pattern_chooses_images(folder: Path) -> None:
    assert levels(f"{folder}/img1*.png") == [1, 10, 11]
    with open_source(f"{folder}/img1*.png") as source:
        assert source.info.name == "img1*.png"


def test_a_name_with_wildcard_characters_is_taken_literally_if_it_exists(tmp_path: Path) -> None:
    save_grey(tmp_path / "frame[1].png", 7)
    assert levels(tmp_path / "frame[1].png") == [7]


def test_one_image_is_a_video_of_one_frame(folder: Path) -> None:
    with open_source(folder / "img2.png") as source:
        (frame,) = source
    assert (frame.timestamp, frame.index, frame.image.shape) == (0, 0, (6, 8, 3))
    assert source.info.frame_count == 1


def test_images_take_the_given_rate_as_their_own(folder: Path) -> None:
    with open_source(folder, fps=10) as source:
        assert [frame.timestamp for frame in source] == [Fraction(k, 10) for k in range(4)]
        assert (source.info.fps, source.info.frame_count) == (10, 4)
    with open_source(folder) as source:
        assert [frame.timestamp for frame in source][1] == Fraction(1, 25)


def test_a_range_of_a_folder_reads_only_its_images(folder: Path) -> None:
    whole = (folder / "img1.png").read_bytes()
    (folder / "img1.png").write_bytes(whole[:-20])  # header whole, pixels cut off
    assert levels(folder, start=0.04, end=0.12) == [2, 10]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp"])
def test_lossless_formats_come_back_exactly(tmp_path: Path, suffix: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / f"a{suffix}", lossless=True)
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), image)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bit_grey_becomes_eight_bit_rgb(tmp_path: Path, suffix: str) -> None:
    deep = np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / f"a{suffix}")
    expected = np.array([0, 0, 1, 1, 128, 255])
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}")[0].T, [expected] * 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    Image.new("RGB", (4, 3), (255, 255, 255)).convert(mode).save(tmp_path / "a.tiff")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tiff"), np.full((3, 4, 3), 255))


def test_alpha_is_dropped_not_blended(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 3), (10, 20, 30, 0)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize(("orientation", "turns"), [(3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, turns: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    with open_source(tmp_path / "a.png") as source:
        (frame,) = source
    np.testing.assert_array_equal(frame.image, np.rot90(image, turns))
    assert (source.info.height, source.info.width) == frame.image.shape[:2]


def test_mixed_sizes_name_the_first_odd_file(folder: Path) -> None:
    save_grey(folder / "img3.png", 3, size=(9, 9))
    save_grey(folder / "img4.png", 4, size=(5, 5))
    with pytest.raises(InputError, match=r"img3\.png is 9x9 but img1\.png is 8x6"):
        open_source(folder)


@pytest.mark.parametrize("keep", [0, 4, -40])
def test_an_unreadable_image_is_named(folder: Path, keep: int) -> None:
    whole = (folder / "img10.png").read_bytes()
    (folder / "img10.png").write_bytes(whole[:keep])
    with pytest.raises(InputError, match=r"img10\.png cannot be read"):
        levels(folder)


def test_float_images_are_refused(tmp_path: Path) -> None:
    Image.new("F", (4, 3)).save(tmp_path / "depth.tiff")
    with pytest.raises(InputError, match="32-bit"):
        levels(tmp_path)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No images"):
        open_source(tmp_path)
    with pytest.raises(InputError, match="No images"):
        open_source(f"{tmp_path}/*.png")


def test_an_empty_range_of_images_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no frame from 5 s .* ends at about 0.16 s"):
        open_source(folder, start=5)


# Frames in memory


def numbered(count: int, size: tuple[int, int] = (4, 6)) -> np.ndarray:
    return np.full((count, *size, 3), np.arange(count, dtype=np.uint8)[:, None, None, None])


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, list])
def test_arrays_tensors_and_lists_can_be_read_twice(kind: Any) -> None:
    with open_source(kind(numbered(5)), fps=10) as source:
        for _ in range(2):
            frames = list(source)
            assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 1, 2, 3, 4]
            assert [frame.timestamp for frame in frames] == [Fraction(k, 10) for k in range(5)]
    assert source.info.frame_count == 5
    assert (source.info.height, source.info.width, source.info.name) == (4, 6, "array")


def test_an_iterator_is_drawn_one_frame_at_a_time() -> None:
    drawn = []

    def camera() -> Iterator[np.ndarray]:
        for k, image in enumerate(numbered(100)):
            drawn.append(k)
            yield image

    with open_source(camera()) as source:
        assert drawn == [0]
        assert source.info.frame_count is None
        frames = iter(source)
        assert [next(frames).index for _ in range(3)] == [0, 1, 2]
        assert drawn == [0, 1, 2]


def test_a_range_of_an_iterator_starts_where_it_should() -> None:
    assert levels(iter(numbered(10)), start=0.08, end=0.2) == [2, 3, 4]
    with pytest.raises(InputError, match="no frame"):
        levels(iter(numbered(10)), start=9)


def test_an_iterator_cannot_be_read_twice() -> None:
    source = open_source(iter(numbered(3)))
    list(source)
    with pytest.raises(InputError, match="used up"):
        list(source)


def test_an_array_source_with_a_rate_of_its_own_is_resampled() -> None:
    assert levels(ArraySource(numbered(6), fps=30), fps=15) == [0, 2, 4]
    assert levels(ArraySource(numbered(3), fps=15), fps=30) == [0, 0, 1, 1, 2, 2]


def test_an_array_source_is_a_source_by_itself() -> None:
    with ArraySource(numbered(3), name="simulator") as source:
        assert [frame.index for frame in source] == [0, 1, 2]
    assert source.info.name == "simulator"


def test_two_by_two_pixels_and_one_frame() -> None:
    (frame,) = open_source(numbered(1, size=(2, 2)))
    assert frame.image.shape == (2, 2, 3)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((3, 4, 6, 3)), "float64, but must be uint8"),
        (torch.zeros(3, 4, 6, 3), "float32, but must be uint8"),
        (np.zeros((4, 6, 3), np.uint8), r"\[4, 6, 3\], but must be \[time"),
        (torch.zeros(3, 3, 4, 6, dtype=torch.uint8), r"\[3, 4, 6\], but must be \[height"),
        ([np.zeros((4, 6), np.uint8)], r"\[4, 6\], but must be \[height"),
        (np.zeros((0, 4, 6, 3), np.uint8), "no frames"),
        ([], "no frames"),
        (iter(()), "no frames"),
        (np.zeros((2, 0, 6, 3), np.uint8), r"\[0, 6, 3\]"),
    ],
)
def test_wrong_frames_are_refused_with_a_clear_sentence(frames: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_source(frames)
