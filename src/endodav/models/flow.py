"""Decoders of the ResNet pyramid: optical flow, appearance flow, and a baseline's disparity.

One U-Net (Godard et al., ICCV 2019) with three kinds of output, each at four scales: 1, 1/2, 1/4
and 1/8 of the images. AF-SfMLearner (Shao et al., MedIA 2022) names optical flow "position" and
appearance flow, the change of brightness that motion does not explain, "transform".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from endodav.models.resnet import WIDTHS as ENCODER_WIDTHS
from endodav.models.resnet import ResNet18

WIDTHS = (256, 128, 64, 32, 16)  # channels of the five stages, coarse to fine
SCALES = 4
START_SPREAD = 1e-5  # standard deviation of new flow outputs: training starts without motion

Map = Float[Tensor, "batch channels rows columns"]
Pyramid = list[Float[Tensor, "batch channels _ _"]]
Padding = Literal["zeros", "reflect"]


def upsample(x: Map, size: tuple[int, int] | None = None) -> Float[Tensor, "batch channels _ _"]:
    """Bilinear, corners not aligned; twice as large unless a size is given.

    >>> upsample(torch.tensor([[[[0.0, 4.0]]]]))[0, 0, 0]
    tensor([0., 1., 3., 4.])
    """
    target = size or (2 * x.shape[-2], 2 * x.shape[-1])
    return F.interpolate(x, target, mode="bilinear", align_corners=False)


class Stage(nn.Module):
    """Lift a coarse map to the next size and merge the encoder's map of that size, if any."""

    def __init__(self, width_in: int, width_skip: int, width_out: int) -> None:
        super().__init__()
        self.lift = _conv(width_in, width_out)
        self.merge = _conv(width_out + width_skip, width_out)

    def forward(
        self,
        x: Float[Tensor, "batch width_in _coarse_rows _coarse_columns"],
        skip: Float[Tensor, "batch width_skip rows columns"] | None,
    ) -> Float[Tensor, "batch width_out rows columns"]:
        """One step finer."""
        x = F.elu(self.lift(x))
        if skip is None:
            x = upsample(x)
        else:
            x = torch.cat([upsample(x, (skip.shape[-2], skip.shape[-1])), skip], dim=1)
        return F.elu(self.merge(x))


class PyramidDecoder(nn.Module):
    """The maps of a `ResNet18` to outputs at four scales.

    Reflection needs the coarsest map to have two rows and columns: images above 32 pixels a side.

    Args:
        channels: of each output.
        finish: what the last convolution's result goes through.
        padding: of that convolution.
    """

    def __init__(self, channels: int, finish: Callable[[Tensor], Tensor], padding: Padding) -> None:
        super().__init__()
        inputs = (ENCODER_WIDTHS[-1], *WIDTHS[:-1])
        skips = (*reversed(ENCODER_WIDTHS[:-1]), 0)
        self.stages = nn.ModuleList(map(Stage, inputs, skips, WIDTHS))
        finest_first = WIDTHS[::-1][:SCALES]
        self.outputs = nn.ModuleList(_conv(width, channels, padding) for width in finest_first)
        self.finish = finish

    def forward(self, maps: list[Float[Tensor, "batch _ _ _"]]) -> Pyramid:
        """Four outputs, the finest first; twice as large as the encoder's first map, and halves."""
        *skips, x = maps
        fused = []
        for stage, skip in zip(self.stages, [*reversed(skips), None], strict=True):
            x = stage(x, skip)
            fused.append(x)
        pairs = zip(self.outputs, reversed(fused), strict=False)
        return [self.finish(output(x)) for output, x in pairs]


class PairNetwork(nn.Module):
    """What a decoder reads from two stacked images.

    Args:
        decoder: of the encoder's maps.
    """

    def __init__(self, decoder: PyramidDecoder) -> None:
        super().__init__()
        self.encoder = ResNet18(images=2)
        self.decoder = decoder

    def forward(
        self,
        first: Float[Tensor, "batch 3 height width"],
        second: Float[Tensor, "batch 3 height width"],
    ) -> Pyramid:
        """Outputs at four scales, the finest first; images are in 0..1."""
        return cast(Pyramid, self.decoder(self.encoder(torch.cat([first, second], dim=1))))


def optical_flow_decoder() -> PyramidDecoder:
    """What to add to a pixel (x, y) to find its point in the other image; for `warp.warp_by_flow`.

    Pixels are those of the full image at every scale. A new decoder sees no motion.
    """
    decoder = PyramidDecoder(2, finish=_swap, padding="zeros")
    for output in decoder.outputs:
        conv = cast(nn.Conv2d, output)
        nn.init.normal_(conv.weight, std=START_SPREAD)
        nn.init.zeros_(cast(Tensor, conv.bias))
    return decoder


def appearance_flow_decoder() -> PyramidDecoder:
    """What to add to each colour for lighting to agree, -1..1."""
    return PyramidDecoder(3, finish=torch.tanh, padding="reflect")


def disparity_decoder() -> PyramidDecoder:
    """Disparity 0..1: the head of AF-SfMLearner's and Monodepth2's own depth network."""
    return PyramidDecoder(1, finish=torch.sigmoid, padding="reflect")


def _swap(flow: Tensor) -> Tensor:
    """Official weights give (y, x); pixel coordinates here are (x, y)."""
    return flow.flip(1)


def _conv(width_in: int, width_out: int, padding: Padding = "reflect") -> nn.Conv2d:
    return nn.Conv2d(width_in, width_out, 3, padding=1, padding_mode=padding)
