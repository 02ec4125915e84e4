"""From radiance to a picture: field of view, exposure, colour, gamma, noise, compression."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from endodav.geometry.camera import intrinsics_from_fov, pixel_grid, unproject
from endodav.synthetic.appearance import GAMMA
from endodav.synthetic.codec import through_h264, through_jpeg
from endodav.synthetic.noise import smooth_signal
from endodav.synthetic.optics import Lens, gaussian_blur, random_lens

LUMINANCE = (0.2126, 0.7152, 0.0722)  # Rec. 709
EXPOSURE_QUANTILE = 0.85  # the brightness that auto-exposure looks at
EXPOSURE_MEMORY = 0.8  # of a frame's gain that the next one keeps
FRAMES_AT_ONCE = 16  # what memory holds; the pictures are the same whatever it is
FRAMES_PER_KNOT = 10  # white balance and brightness wander about that slowly
NARROW_BAND = ((0, 1, 0), (0, 0, 1), (0, 0, 1))  # green light is shown as red, blue as green, blue


@dataclass(frozen=True)
class Sensor:
    """Optics and electronics of one endoscope.

    Attributes:
        intrinsics: of the camera, in pixels.
        distortion: k; the ray of a pixel at (x, y, 1) = K^-1 (u, v, 1) goes through (x s, y s, 1),
            where s = 1 + k (x^2 + y^2).
        field_of_view: pixels that show anything, the others are black.
        lens: what blurs the light before it arrives.
        exposure: linear value that auto-exposure gives to the bright quantile.
        colour: matrix from linear radiance to the sensor's linear RGB.
        drift: how far brightness and white balance wander, on a logarithmic scale.
        contrast: exponent on linear values before gamma; below 1 flattens.
        vignetting: loss of light in the corners, 0 to 1.
        blur: standard deviation in pixels.
        chroma_blur: further blur of the colours alone, in pixels.
        sharpening: strength of the halos that make edges crisp.
        interlaced: odd rows are those of the frame before.
        noise: standard deviation of read and shot noise, on a scale of 0 to 1 after gamma.
        quality: of JPEG, None for none.
        rate_factor: of H.264, None for none.
    """

    intrinsics: Float[Tensor, "3 3"]
    distortion: float
    field_of_view: Bool[Tensor, "height width"]
    lens: Lens
    exposure: float
    colour: Float[Tensor, "3 3"]
    drift: float
    contrast: float
    vignetting: float
    blur: float
    chroma_blur: float
    sharpening: float
    interlaced: bool
    noise: float
    quality: int | None
    rate_factor: int | None


def random_sensor(
    rng: np.random.Generator, height: int, width: int, field_of_view: tuple[float, float]
) -> Sensor:
    """An endoscope with a horizontal field of view in the given range of degrees."""
    codec = rng.choice(["none", "jpeg", "h264"], p=[0.25, 0.35, 0.4])
    return Sensor(
        intrinsics=intrinsics_from_fov(height, width, rng.uniform(*field_of_view)),
        distortion=float(rng.choice([0, 1], p=[0.6, 0.4]) * rng.uniform(0, 0.2)),
        field_of_view=_visible(rng, height, width),
        lens=random_lens(rng),
        exposure=float(rng.uniform(0.2, 0.75) * rng.choice([1, 1.7], p=[0.9, 0.1])),
        colour=_colour_matrix(rng),
        drift=float(rng.choice([0, 1], p=[0.6, 0.4]) * rng.uniform(0, 0.15)),
        contrast=float(rng.uniform(0.7, 1.25)),
        vignetting=float(rng.uniform(0, 0.5)),
        blur=float(max(0.0, rng.uniform(-0.5, 0.8))),
        chroma_blur=float(rng.choice([0, 1], p=[0.6, 0.4]) * rng.uniform(0.6, 1.6)),
        sharpening=float(rng.choice([0, 1], p=[0.5, 0.5]) * rng.uniform(0.3, 2)),
        interlaced=bool(rng.random() < 0.04),
        noise=float(rng.uniform(0, 0.025)),
        quality=int(rng.integers(40, 96)) if codec == "jpeg" else None,
        rate_factor=int(rng.integers(18, 37)) if codec == "h264" else None,
    )


def _colour_matrix(rng: np.random.Generator) -> Float[Tensor, "3 3"]:
    """White balance and saturation; at times narrow-band imaging."""
    if rng.random() < 0.04:
        shown = torch.tensor(NARROW_BAND, dtype=torch.float32) * torch.tensor([[1.3], [1.0], [0.8]])
    else:
        grey = torch.tensor(LUMINANCE).expand(3, 3)
        shown = torch.lerp(grey, torch.eye(3), float(rng.uniform(0.75, 1.2)))
    balance = torch.tensor(np.exp(rng.normal(0, 0.08, 3)), dtype=torch.float32)
    return balance[:, None] * shown


def _visible(rng: np.random.Generator, height: int, width: int) -> Bool[Tensor, "height width"]:
    """All pixels, a disc (often cut off), or a rectangle with cut corners; at times between bars.

    Bars are the black borders that a capture card adds.
    """
    shape = rng.choice(["full", "disc", "octagon"], p=[0.55, 0.3, 0.15])
    centre = (
        torch.tensor([width - 1, height - 1]) / 2 + torch.tensor(rng.normal(0, 0.03, 2)) * width
    )
    x, y = (pixel_grid(height, width) - centre).unbind(-1)
    visible = torch.ones(height, width, dtype=torch.bool)
    if rng.random() < 0.1:
        bar_x, bar_y = rng.uniform(0, 0.12, 2) * rng.permutation([0, 1])
        visible = (x.abs() < (0.5 - bar_x) * width) & (y.abs() < (0.5 - bar_y) * height)
    if shape == "disc":
        return visible & (torch.hypot(x, y) < height / 2 * rng.uniform(0.85, 1.4))
    if shape == "octagon":
        half_width, half_height = width / 2 * rng.uniform(0.8, 1), height / 2 * rng.uniform(0.9, 1)
        cut = (half_width + half_height) * rng.uniform(0.75, 0.95)
        return (
            visible & (x.abs() < half_width) & (y.abs() < half_height) & (x.abs() + y.abs() < cut)
        )
    return visible


def pixel_rays(sensor: Sensor) -> Float[Tensor, "height width 3"]:
    """For every pixel the point of its ray at Z-depth 1, in the camera frame."""
    height, width = sensor.field_of_view.shape
    straight = unproject(pixel_grid(height, width), torch.ones(height, width), sensor.intrinsics)
    stretch = 1 + sensor.distortion * straight[..., :2].square().sum(-1, keepdim=True)
    return torch.cat([straight[..., :2] * stretch, straight[..., 2:]], dim=-1)


def develop(
    radiance: Float[Tensor, "time 3 height width"],
    sensor: Sensor,
    rng: np.random.Generator,
    stride: int = 1,
) -> UInt8[np.ndarray, "time height width 3"]:
    """Turn linear radiance into 8-bit pictures, of every `stride`-th frame that the camera took."""
    frames, _, height, width = radiance.shape
    taken = (frames - 1) * stride + 1  # by the camera, which exposes what a stride leaves out, too
    exposure = _auto_exposure(radiance, sensor, taken)[:, None, None, None]
    gains = (exposure * _wandering_gains(sensor, rng, taken).to(radiance.device))[::stride]
    pictures = np.empty((frames, height, width, 3), np.uint8)
    for first in range(0, frames, FRAMES_AT_ONCE):
        chunk = slice(first, first + FRAMES_AT_ONCE)
        before = max(0, first - 1)  # interlacing looks back a frame
        exposed = _expose(radiance[before : chunk.stop] * gains[before : chunk.stop], sensor)
        pictures[chunk] = _digitise(_process(exposed, sensor)[first - before :], sensor, rng)
    if sensor.rate_factor is not None:
        return through_h264(pictures, sensor.rate_factor)
    return pictures if sensor.quality is None else through_jpeg(pictures, sensor.quality)


def _expose(
    linear: Float[Tensor, "time 3 height width"], sensor: Sensor
) -> Float[Tensor, "time 3 height width"]:
    """From the light that arrives to the sensor's response after gamma."""
    linear = linear * _vignette(sensor).to(linear.device)
    linear = torch.einsum("ij,tjhw->tihw", sensor.colour.to(linear.device), linear).clamp_min(0)
    # a shoulder: linear in the dark, saturating softly, as cameras do to keep highlights
    linear = linear / (1 + linear.pow(3)).pow(1 / 3)
    return gaussian_blur(linear.pow(sensor.contrast), sensor.blur).pow(1 / GAMMA)


def _digitise(
    image: Float[Tensor, "time 3 height width"], sensor: Sensor, rng: np.random.Generator
) -> UInt8[np.ndarray, "time height width 3"]:
    """Noise, field of view, eight bits."""
    grain = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32)).to(image.device)
    image = image + sensor.noise * grain * (1.2 - image)
    image = image.clamp(0, 1) * sensor.field_of_view.to(image.device)
    return (255 * image + 0.5).byte().permute(0, 2, 3, 1).cpu().numpy()


def _process(
    image: Float[Tensor, "time 3 height width"], sensor: Sensor
) -> Float[Tensor, "time 3 height width"]:
    """What the camera's processor does after gamma: coarse colours, crisp edges, two fields."""
    if sensor.chroma_blur:
        grey = image.mean(1, keepdim=True)
        image = grey + gaussian_blur(image - grey, sensor.chroma_blur)
    if sensor.sharpening:
        image = image + sensor.sharpening * (image - gaussian_blur(image, 1.0))
    if sensor.interlaced and len(image) > 1:
        rows = torch.arange(image.shape[2], device=image.device) % 2 == 1
        earlier = torch.cat([image[:1], image[:-1]])
        image = torch.where(rows[:, None], earlier, image)
    return image


def _wandering_gains(
    sensor: Sensor, rng: np.random.Generator, frames: int
) -> Float[Tensor, "time 3 1 1"]:
    """Gains of the colours that change slowly around 1, together and against each other."""
    knots = max(2, math.ceil(frames / FRAMES_PER_KNOT) + 1)
    curves = smooth_signal(rng, frames, knots, 4)
    gains: Tensor = torch.exp(sensor.drift * (curves[:, :1] + 0.4 * curves[:, 1:]))
    return gains[:, :, None, None]


def _auto_exposure(
    radiance: Float[Tensor, "time 3 height width"], sensor: Sensor, taken: int
) -> Float[Tensor, " taken"]:
    """A gain for each frame taken that follows the brightness with some delay.

    Between frames whose radiance is known brightness changes evenly.
    """
    weights = torch.tensor(LUMINANCE, device=radiance.device)[:, None, None]
    visible = sensor.field_of_view.to(radiance.device)
    luminances = ((frame * weights).sum(0)[visible] for frame in radiance)
    bright = torch.stack([torch.quantile(frame, EXPOSURE_QUANTILE) for frame in luminances])
    wanted = torch.log(sensor.exposure / bright.clamp_min(1e-12))
    wanted = F.interpolate(wanted[None, None], taken, mode="linear", align_corners=True)[0, 0]
    gains = [wanted[0]]
    for gain in wanted[1:]:
        gains.append(EXPOSURE_MEMORY * gains[-1] + (1 - EXPOSURE_MEMORY) * gain)
    return torch.stack(gains).exp()


def _vignette(sensor: Sensor) -> Float[Tensor, "height width"]:
    height, width = sensor.field_of_view.shape
    centre = torch.tensor([width - 1, height - 1]) / 2
    offset: Tensor = (pixel_grid(height, width) - centre) / torch.hypot(centre[0], centre[1])
    return 1 - sensor.vignetting * offset.square().sum(-1)
