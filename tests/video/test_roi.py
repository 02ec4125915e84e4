"""The field of view and the highlights of an endoscope's image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from endodav.errors import RecipeError
from endodav.video.roi import (
    Circle,
    FieldOfView,
    Polygon,
    Rectangle,
    Whole,
    detect_field_of_view,
    highlight_mask,
    parse_field_of_view,
)
from endodav.video.source import open_source

HEIGHT, WIDTH = 240, 320
ACROSS = (110.0, 210.0, 260.0, 260.0, 210.0, 110.0, 60.0, 60.0)
DOWN = (20.0, 20.0, 70.0, 170.0, 220.0, 220.0, 170.0, 70.0)
OCTAGON = Polygon(tuple(zip(ACROSS, DOWN, strict=True)))
SHAPES: tuple[FieldOfView, ...] = (
    Circle(150, 118, 100),
    Circle(160, 120, 150),  # cut by the frame above and below
    OCTAGON,
    Rectangle(40, 0, 250, 240),
    Whole(),
)


def scene(shape: FieldOfView, brightness: float = 120.0, seed: int = 0) -> list[np.ndarray]:
    """Frames of a textured wall seen through `shape`, with sensor noise on the black."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    frames = []
    for time in range(4):
        wall = 0.6 + 0.4 * np.sin(columns / 17 + time) * np.cos(rows / 23 - time)
        value = brightness * wall * shape.mask(HEIGHT, WIDTH) + rng.uniform(0, 4, (HEIGHT, WIDTH))
        frames.append(np.repeat(value[..., None], 3, axis=2).clip(0, 255).astype(np.uint8))
    return frames


def overlap(found: FieldOfView, truth: FieldOfView) -> float:
    a, b = found.mask(HEIGHT, WIDTH), truth.mask(HEIGHT, WIDTH)
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("brightness", [120.0, 30.0], ids=["bright", "dark"])
def test_shapes_are_found(shape: FieldOfView, brightness: float) -> None:
    found = detect_field_of_view(scene(shape, brightness))
    assert type(found) is type(shape)
    assert overlap(found, shape) > 0.95


def test_a_disc_with_a_dark_half_is_filled_in() -> None:
    disc = Circle(160, 120, 100)
    frames = scene(disc)
    for frame in frames:
        frame[:, 175:] = 2
    found = detect_field_of_view(frames)
    assert isinstance(found, Circle)
    assert overlap(found, disc) > 0.93


def test_a_dark_lumen_is_inside() -> None:
    disc = Circle(160, 120, 100)
    frames = scene(disc)
    for frame in frames:
        frame[Circle(160, 120, 60).mask(HEIGHT, WIDTH)] = 1
    assert overlap(detect_field_of_view(frames), disc) > 0.95


def test_text_beside_the_image_does_not_count() -> None:
    disc = Circle(190, 120, 100)
    frames = scene(disc)
    for frame in frames:
        frame[20:26, 5:60:3] = 250
    assert overlap(detect_field_of_view(frames), disc) > 0.95


def test_black_frames_have_no_border() -> None:
    assert detect_field_of_view([np.zeros((HEIGHT, WIDTH, 3), np.uint8)]) == Whole()


@pytest.mark.parametrize("text", ["circle:10,20,5", "rect:1,2,30,40", "none"])
def test_what_is_written_is_read_back(text: str) -> None:
    assert str(parse_field_of_view(text)) == text


@pytest.mark.parametrize("text", ["disc", "circle:1,2", "circle:1,2,0", "rect:1,2,3,x", "circle:"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="circle:x,y,r"):
        parse_field_of_view(text)


def test_highlights_are_white_or_stand_out() -> None:
    images = torch.full((2, 3, 3, 60, 80), 0.3)
    images[0, 0, :, 20:24, 30:34] = 0.95  # white
    images[0, 1, :, 20:24, 30:34] = 0.65  # grey, but bright beside what is around
    images[0, 2, 0, 20:24, 30:34] = 1.0  # red is tissue
    found = highlight_mask(images)
    assert found.shape == (2, 3, 1, 60, 80)
    assert found[0, 0, 0, 20:24, 30:34].all()
    assert found[0, 1, 0, 20:24, 30:34].all()
    assert found[0].sum() < 200
    assert not found[0, 2].any()
    assert not found[1].any()


def test_a_real_laparoscope(real_data: Path) -> None:
    with open_source(real_data / "laparoscopy" / "cholecystectomy_250f_720p.mp4") as source:
        frames = [frame.image for frame, _ in zip(source, range(20), strict=False)]
    found = detect_field_of_view(frames[::6])
    assert isinstance(found, Circle)
    assert np.allclose((found.x, found.y, found.radius), (628, 386, 566), atol=12)  # by eye
