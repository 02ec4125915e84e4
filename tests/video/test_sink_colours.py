"""The preview: near is bright, a value keeps its colour, and what lies beyond is said."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import OpenEXR
import pytest

from endodav.errors import OutputError, PreviewWarning
from endodav.types import DepthFrame, DepthMeta, Kind, SourceInfo, Units
from endodav.video.colormap import fit_colour_scale, lookup_table
from endodav.video.inspect import read_meta
from endodav.video.sink import open_sink

META = DepthMeta(
    kind=Kind.INVERSE_DEPTH,
    units=Units.AFFINE_INVARIANT,
    model="endodav-tiny",
    weights_sha256="0" * 64,
    licence="Apache-2.0",
    origin="rendered scenes",
    source="array",
    endodav_version="0.1.0",
)
GREY = (128, 128, 128)


def ramp(low: float, high: float, height: int = 32, width: int = 64) -> np.ndarray:
    return np.broadcast_to(np.linspace(low, high, width, dtype=np.float32), (height, width)).copy()


def write(folder: Path, maps: list[np.ndarray], formats=("video",), meta=META, **options) -> None:
    height, width = maps[0].shape
    info = SourceInfo("array", height, width, Fraction(25), len(maps))
    image = np.full((height * 2, width, 3), GREY, np.uint8)  # another shape than the depth
    with open_sink(folder, formats, meta=meta, info=info, **options) as sink:
        for k, values in enumerate(maps):
            sink.write(DepthFrame(values, Fraction(k, 25), k, image))


def pictures(folder: Path) -> list[np.ndarray]:
    with av.open(str(folder / "depth.mp4")) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_value_keeps_its_colour_whatever_else_the_frame_shows(tmp_path: Path) -> None:
    maps = [ramp(0, 1) for _ in range(40)]
    for k, values in enumerate(maps):
        values[:, :16] = 0.5
        values[:, 48:] = k / 40 * 1.1
    with pytest.warns(PreviewWarning):
        write(tmp_path, maps, layout="depth")
    patches = np.array([picture[8:24, 4:12].mean(axis=(0, 1)) for picture in pictures(tmp_path)])
    assert len(patches) == 40
    assert np.ptp(patches, axis=0).max() < 3  # H.264 rounding, out of 255


@pytest.mark.parametrize("kind", list(Kind))
def test_near_is_bright_for_both_kinds(tmp_path: Path, kind: Kind) -> None:
    nearness = ramp(0.1, 1)
    values = nearness if kind is Kind.INVERSE_DEPTH else 1 / nearness
    write(tmp_path, [values], meta=replace(META, kind=kind), layout="depth")
    (picture,) = pictures(tmp_path)
    luminance = picture.mean(axis=(0, 2))
    assert luminance[-8:].mean() > luminance[28:36].mean() + 20 > luminance[:8].mean() + 40
    red, _, blue = picture[:, -12:].mean(axis=(0, 1))
    assert red > blue


def test_both_kinds_give_the_same_colours() -> None:
    nearness = ramp(0.1, 1)
    painted = [
        fit_colour_scale([values], kind, "inferno").positions(values).astype(int)
        for values, kind in ((nearness, Kind.INVERSE_DEPTH), (1 / nearness, Kind.DEPTH))
    ]
    assert np.abs(painted[0] - painted[1]).max() <= 1


def test_side_by_side_shows_the_source_at_the_depths_size(tmp_path: Path) -> None:
    write(tmp_path, [ramp(0, 1)])
    (picture,) = pictures(tmp_path)
    assert picture.shape == (32, 128, 3)
    assert np.abs(picture[:, :60].astype(int) - GREY).max() <= 2


def test_odd_sizes_are_padded_to_even_ones(tmp_path: Path) -> None:
    write(tmp_path, [ramp(0, 1, 33, 65)], layout="depth")
    (picture,) = pictures(tmp_path)
    assert picture.shape == (34, 66, 3)


def test_the_stream_says_its_colour_space(tmp_path: Path) -> None:
    write(tmp_path, [ramp(0, 1)])
    with av.open(str(tmp_path / "depth.mp4")) as container:
        context = container.streams.video[0].codec_context
        tags = (context.color_primaries, context.color_trc, context.colorspace, context.color_range)
        assert tags == (1, 1, 1, 1)
        assert context.pix_fmt == "yuv420p"


def test_pixels_beyond_the_colours_are_counted_and_said(tmp_path: Path) -> None:
    quarter = ramp(0, 1)
    quarter[:, 48:] = 100
    with pytest.warns(PreviewWarning, match=r"12\.5% of the pixels"):
        write(tmp_path, [ramp(0, 1)] * 32 + [quarter] * 32)
    assert read_meta(tmp_path / "depth.mp4")["preview"]["share_outside"] == pytest.approx(1 / 8)


def test_nothing_is_said_where_all_is_shown(tmp_path: Path) -> None:
    write(tmp_path, [ramp(0, 1)] * 34)  # a warning would be an error
    assert read_meta(tmp_path / "depth.mp4")["preview"]["share_outside"] == 0


def test_exr_shows_a_picture_and_not_black(tmp_path: Path) -> None:
    values = ramp(0, 1)
    write(tmp_path, [values], formats=("exr",))
    channels = OpenEXR.File(
        str(tmp_path / "depth_exr" / "frame_000000.exr"), separate_channels=True
    ).channels()
    assert channels["Z"].pixels.dtype == np.float32
    linear = np.stack([channels[name].pixels for name in "RGB"], axis=-1).astype(np.float64)
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    expected = fit_colour_scale([values], Kind.INVERSE_DEPTH, "inferno").paint(values)
    assert np.abs(srgb * 255 - expected).max() < 0.6


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("value", [0.0, 1e-30, 3.0, 1e30])
def test_a_constant_picture_has_a_finite_scale(kind: Kind, value: float) -> None:
    values = np.full((4, 5), value, np.float32)
    scale = fit_colour_scale([values], kind, "turbo")
    assert np.isfinite([scale.low, scale.high]).all()
    assert scale.low < scale.high
    assert scale.paint(values).shape == (4, 5, 3)
    assert scale.count_outside(values) == 0


def test_a_few_wild_pixels_do_not_set_the_scale() -> None:
    values = ramp(0.2, 1, 100, 100)
    values[50, 3:8] = 1e6
    scale = fit_colour_scale([values], Kind.INVERSE_DEPTH, "inferno")
    assert 0 <= scale.low < 0.2
    assert 1 < scale.high < 1.3


def test_lookup_table_names_what_is_wrong() -> None:
    assert lookup_table("viridis").shape == (256, 3)
    with pytest.raises(OutputError, match="no colour map 'vridis'"):
        lookup_table("vridis")
