"""From radiance to a picture: field of view, exposure, gamma, blur, noise, compression."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from endodav.geometry.camera import intrinsics_from_fov, pixel_grid, unproject
from endodav.synthetic.appearance import GAMMA

LUMINANCE = (0.2126, 0.7152, 0.0722)  # Rec. 709
EXPOSURE_QUANTILE = 0.85  # the brightness that auto-exposure looks at
EXPOSURE_MEMORY = 0.8  # of a frame's gain that the next one keeps


@dataclass(frozen=True)
class Sensor:
    """Optics and electronics of one endoscope.

    Attributes:
        intrinsics: of the camera, in pixels.
        distortion: k; the ray of a pixel at (x, y, 1) = K^-1 (u, v, 1) goes through (x s, y s, 1),
            where s = 1 + k (x^2 + y^2).
        field_of_view: pixels that show anything, the others are black.
        exposure: linear value that auto-exposure gives to the bright quantile.
        contrast: exponent on linear values before gamma; below 1 flattens.
        vignetting: loss of light in the corners, 0 to 1.
        blur: standard deviation in pixels.
        noise: standard deviation of read and shot noise, on a scale of 0 to 1 after gamma.
        quality: of JPEG, None for no compression.
    """

    intrinsics: Float[Tensor, "3 3"]
    distortion: float
    field_of_view: Bool[Tensor, "height width"]
    exposure: float
    contrast: float
    vignetting: float
    blur: float
    noise: float
    quality: int | None


def random_sensor(
    rng: np.random.Generator, height: int, width: int, field_of_view: tuple[float, float]
) -> Sensor:
    """An endoscope with a horizontal field of view in the given range of degrees."""
    return Sensor(
        intrinsics=intrinsics_from_fov(height, width, rng.uniform(*field_of_view)),
        distortion=float(rng.choice([0, 1], p=[0.6, 0.4]) * rng.uniform(0, 0.2)),
        field_of_view=_visible(rng, height, width),
        exposure=float(rng.uniform(0.25, 0.75)),
        contrast=float(rng.uniform(0.7, 1.15)),
        vignetting=float(rng.uniform(0, 0.5)),
        blur=float(max(0.0, rng.uniform(-0.3, 0.8))),
        noise=float(rng.uniform(0, 0.02)),
        quality=int(rng.integers(40, 96)) if rng.random() < 0.6 else None,
    )


def _visible(rng: np.random.Generator, height: int, width: int) -> Bool[Tensor, "height width"]:
    """All pixels, a disc (often cut off above and below), or a rectangle with cut corners."""
    shape = rng.choice(["full", "disc", "octagon"], p=[0.55, 0.3, 0.15])
    centre = (
        torch.tensor([width - 1, height - 1]) / 2 + torch.tensor(rng.normal(0, 0.02, 2)) * width
    )
    x, y = (pixel_grid(height, width) - centre).unbind(-1)
    if shape == "disc":
        return torch.hypot(x, y) < height / 2 * rng.uniform(0.85, 1.3)
    if shape == "octagon":
        half_width, half_height = width / 2 * rng.uniform(0.8, 1), height / 2 * rng.uniform(0.9, 1)
        cut = (half_width + half_height) * rng.uniform(0.75, 0.95)
        return (x.abs() < half_width) & (y.abs() < half_height) & (x.abs() + y.abs() < cut)
    return torch.ones(height, width, dtype=torch.bool)


def pixel_rays(sensor: Sensor) -> Float[Tensor, "height width 3"]:
    """For every pixel the point of its ray at Z-depth 1, in the camera frame."""
    height, width = sensor.field_of_view.shape
    straight = unproject(pixel_grid(height, width), torch.ones(height, width), sensor.intrinsics)
    stretch = 1 + sensor.distortion * straight[..., :2].square().sum(-1, keepdim=True)
    return torch.cat([straight[..., :2] * stretch, straight[..., 2:]], dim=-1)


def develop(
    radiance: Float[Tensor, "time 3 height width"], sensor: Sensor, rng: np.random.Generator
) -> UInt8[np.ndarray, "time height width 3"]:
    """Turn linear radiance into 8-bit pictures."""
    visible = sensor.field_of_view.to(radiance.device)
    linear = radiance * _auto_exposure(radiance, sensor, visible)[:, None, None, None]
    linear = linear * _vignette(sensor).to(radiance.device)
    # a shoulder: linear in the dark, saturating softly, as cameras do to keep highlights
    linear = linear / (1 + linear.pow(3)).pow(1 / 3)
    image = _blur(linear.pow(sensor.contrast), sensor.blur).pow(1 / GAMMA)
    grain = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32)).to(image.device)
    image = image + sensor.noise * grain * (1.2 - image)
    image = image.clamp(0, 1) * visible
    pictures = (255 * image + 0.5).byte().permute(0, 2, 3, 1).cpu().numpy()
    if sensor.quality is None:
        return np.ascontiguousarray(pictures)
    return np.stack([_jpeg(picture, sensor.quality) for picture in pictures])


def _auto_exposure(radiance: Tensor, sensor: Sensor, visible: Tensor) -> Float[Tensor, " time"]:
    """A gain for each frame that follows the brightness with some delay."""
    weights = torch.tensor(LUMINANCE, device=radiance.device)[:, None, None]
    luminance = (radiance * weights).sum(1)[:, visible]
    bright = torch.quantile(luminance, EXPOSURE_QUANTILE, dim=1).clamp_min(1e-12)
    wanted = torch.log(sensor.exposure / bright)
    gains = [wanted[0]]
    for gain in wanted[1:]:
        gains.append(EXPOSURE_MEMORY * gains[-1] + (1 - EXPOSURE_MEMORY) * gain)
    return torch.stack(gains).exp()


def _vignette(sensor: Sensor) -> Float[Tensor, "height width"]:
    height, width = sensor.field_of_view.shape
    centre = torch.tensor([width - 1, height - 1]) / 2
    offset: Tensor = (pixel_grid(height, width) - centre) / torch.hypot(centre[0], centre[1])
    return 1 - sensor.vignetting * offset.square().sum(-1)


def _blur(
    images: Float[Tensor, "time 3 height width"], sigma: float
) -> Float[Tensor, "time 3 height width"]:
    """Gaussian blur, rows and columns one after the other."""
    if sigma == 0:
        return images
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    kernel = torch.exp(-0.5 * (offsets / sigma).square())
    kernel = (kernel / kernel.sum()).expand(3, 1, -1)
    padded = F.pad(images, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel[:, :, :, None], groups=3)
    return F.conv2d(rows, kernel[:, :, None, :], groups=3)


def _jpeg(
    picture: UInt8[np.ndarray, "height width 3"], quality: int
) -> UInt8[np.ndarray, "height width 3"]:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))
