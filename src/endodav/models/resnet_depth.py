"""AF-SfMLearner's own depth network (Shao et al., MedIA 2022): a ResNet-18 and a U-Net, no base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from jaxtyping import Float
from torch import Tensor, nn

from endodav.models.dpt import resize
from endodav.models.flow import disparity_decoder
from endodav.models.resnet import ResNet18


class ResNetDepth(nn.Module):
    """Single images to disparity in 0..1.

    Args:
        image_shape: rows and columns every input is resized to; above 32 each.
    """

    def __init__(self, image_shape: tuple[int, int]) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.encoder = ResNet18(images=1)
        self.decoder = disparity_decoder()

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> list[Float[Tensor, "batch 1 _ _"]]:
        """Disparity at four scales, the finest first; images are in 0..1."""
        return cast(list[Tensor], self.decoder(self.encode(images)))

    def encode(
        self, frames: Float[Tensor, "frames 3 height width"]
    ) -> list[Float[Tensor, "frames _ _ _"]]:
        """The five maps of each frame; frames are in 0..1."""
        return cast(list[Tensor], self.encoder(resize(frames, self.image_shape)))

    def decode(
        self, maps: list[Float[Tensor, "time _ _ _"]], wanted: Sequence[int] | None = None
    ) -> Float[Tensor, "wanted out_height out_width"]:
        """Disparity at the finest scale, of each frame by itself; of all, or those `wanted`."""
        if wanted is not None:
            maps = [level[list(wanted)] for level in maps]
        finest: Tensor = self.decoder(maps)[0]
        return finest[:, 0]

    def predict_clip(
        self, frames: Float[Tensor, "time 3 height width"]
    ) -> Float[Tensor, "time out_height out_width"]:
        """Disparity of the frames of a clip at the finest scale; frames are in 0..1."""
        return self.decode(self.encode(frames))
