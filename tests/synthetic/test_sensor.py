"""From radiance to 8 bits: what each flaw of a camera does, and that it does nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from endodav.synthetic.codec import through_h264, through_jpeg
from endodav.synthetic.optics import gaussian_blur
from endodav.synthetic.sensor import Sensor, develop, random_sensor

SHAPE = (4, 37, 50)


@pytest.fixture
def ideal() -> Sensor:
    """A camera without flaws."""
    return replace(
        random_sensor(np.random.default_rng(0), *SHAPE[1:], (70, 70)),
        field_of_view=torch.ones(SHAPE[1:], dtype=torch.bool),
        colour=torch.eye(3),
        drift=0.0,
        vignetting=0.0,
        blur=0.0,
        chroma_blur=0.0,
        sharpening=0.0,
        interlaced=False,
        noise=0.0,
        quality=None,
        rate_factor=None,
    )


@pytest.fixture
def radiance() -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    smooth: torch.Tensor = gaussian_blur(torch.rand(SHAPE[0], 3, *SHAPE[1:], generator=rng), 3.0)
    return smooth


def developed(radiance: torch.Tensor, sensor: Sensor) -> np.ndarray:
    return develop(radiance, sensor, np.random.default_rng(0)).astype(int)


def test_every_camera_keeps_shape_and_type(radiance: torch.Tensor) -> None:
    codecs = set()
    for seed in range(25):
        rng = np.random.default_rng(seed)
        sensor = random_sensor(rng, *SHAPE[1:], (50, 90))
        codecs.add((sensor.quality is None, sensor.rate_factor is None))
        pictures = develop(radiance, sensor, rng)
        assert pictures.shape == (*SHAPE, 3)
        assert pictures.dtype == np.uint8
        outside = ~sensor.field_of_view.numpy()
        if outside.sum() > 50:
            assert pictures[:, outside].mean() < 20  # compression rings at the rim
    assert len(codecs) == 3


def test_exposure_goes_on_in_frames_that_a_stride_leaves_out(
    ideal: Sensor, radiance: torch.Tensor
) -> None:
    approach = radiance[:1] * torch.linspace(-1, 1, 13).exp()[:, None, None, None]
    rng = np.random.default_rng(0)
    long, near, wide = (
        develop(frames, ideal, rng, stride).astype(int)
        for frames, stride in ((approach, 1), (approach[::4], 1), (approach[::4], 4))
    )
    assert np.abs(wide - long[::4]).max() <= 1
    assert (near - long[::4])[-1].mean() > 10  # as if the camera had jumped there


def test_colours_wander_on_in_frames_that_a_stride_leaves_out(
    ideal: Sensor, radiance: torch.Tensor
) -> None:
    still, sensor = radiance[:1].repeat(41, 1, 1, 1), replace(ideal, drift=0.5)
    long = develop(still, sensor, np.random.default_rng(0)).astype(int)
    wide = develop(still[::8], sensor, np.random.default_rng(0), 8).astype(int)
    assert np.abs(wide - long[::8]).max() <= 1
    assert np.abs(long - long[0]).max() > 10


def test_outside_the_field_of_view_is_black(ideal: Sensor, radiance: torch.Tensor) -> None:
    visible = torch.zeros(SHAPE[1:], dtype=torch.bool)
    visible[5:20, 5:30] = True
    pictures = developed(radiance, replace(ideal, field_of_view=visible, noise=0.02))
    assert pictures[:, ~visible.numpy()].max() == 0
    assert pictures[:, visible.numpy()].mean() > 50


@pytest.mark.parametrize("size", [(4, 37, 50), (1, 4, 4)])
def test_h264_at_a_low_rate_factor_is_close_to_its_input(
    size: tuple[int, int, int], ideal: Sensor
) -> None:
    ramp = np.linspace(40, 200, size[2]).astype(np.uint8)
    clip = np.ascontiguousarray(np.broadcast_to(ramp[None, None, :, None], (*size, 3)))
    fine, coarse = (through_h264(clip, factor).astype(int) - clip for factor in (2, 48))
    assert fine.shape == clip.shape
    assert np.abs(fine).mean() < 2.5
    assert np.abs(fine).mean() <= np.abs(coarse).mean()
    assert np.array_equal(through_h264(clip, 30), through_h264(clip, 30))


def test_h264_loses_more_than_a_fine_jpeg(ideal: Sensor, radiance: torch.Tensor) -> None:
    plain = developed(radiance, ideal).astype(np.uint8)
    jpeg = np.abs(through_jpeg(plain, 95).astype(int) - plain).mean()
    h264 = np.abs(through_h264(plain, 36).astype(int) - plain).mean()
    assert 0 < jpeg < h264 < 15


def test_interlacing_shows_odd_rows_of_the_frame_before(
    ideal: Sensor, radiance: torch.Tensor
) -> None:
    plain = developed(radiance, ideal)
    mixed = developed(radiance, replace(ideal, interlaced=True))
    assert np.array_equal(mixed[:, ::2], plain[:, ::2])
    assert np.array_equal(mixed[1:, 1::2], plain[:-1, 1::2])
    assert np.array_equal(mixed[0], plain[0])


def test_sharpening_and_coarse_colours_do_what_they_say(
    ideal: Sensor, radiance: torch.Tensor
) -> None:
    plain = developed(radiance, ideal)
    crisp = developed(radiance, replace(ideal, sharpening=2.0))
    assert np.abs(np.diff(crisp, axis=2)).mean() > np.abs(np.diff(plain, axis=2)).mean()
    soft = developed(radiance, replace(ideal, chroma_blur=3.0))
    assert np.abs(soft.mean(-1) - plain.mean(-1)).max() < 2
    assert (soft.max(-1) - soft.min(-1)).mean() < (plain.max(-1) - plain.min(-1)).mean()


def test_drift_changes_a_still_scene_slowly(ideal: Sensor, radiance: torch.Tensor) -> None:
    still = radiance[:1].expand(30, -1, -1, -1)
    assert np.ptp(developed(still, ideal).mean((1, 2)), axis=0).max() < 0.5
    levels = developed(still, replace(ideal, drift=0.2)).mean((1, 2))
    assert np.ptp(levels, axis=0).min() > 3
    assert np.abs(np.diff(levels, axis=0)).max() < 0.35 * np.ptp(levels, axis=0).max()
