"""What one self-supervised step sees: clips, and nothing that anyone had to label."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

NEIGHBOURS = (-1, 1)  # of every target frame: the one before and the one after

Images = Float[Tensor, "frames 3 height width"]


@dataclass(frozen=True)
class VideoBatch:
    """Clips of neighbouring frames; the first and the last of each are only ever neighbours.

    Attributes:
        frames: RGB in 0..1, what is warped and compared.
        augmented: the same with other colours, what networks of two images see.
        valid: pixels inside the endoscope's field of view and off its highlights.
        regions: of the target frames, from 0, whose depth is smooth inside; None without.
        intrinsics: of each clip's camera, in pixels; None where they are to be learned.
        squeeze: how many pixels across a circle of each clip measures for each pixel down; None
            where pixels are square.
    """

    frames: Float[Tensor, "batch time 3 height width"]
    augmented: Float[Tensor, "batch time 3 height width"]
    valid: Bool[Tensor, "batch time 1 height width"]
    regions: Int[Tensor, "batch targets height width"] | None = None
    intrinsics: Float[Tensor, "batch 3 3"] | None = None
    squeeze: Float[Tensor, " batch"] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.frames.shape[-2], self.frames.shape[-1]

    @property
    def clip_length(self) -> int:
        """Target frames of a clip."""
        return self.frames.shape[1] - 2

    def shown(self, offset: int = 0) -> Images:
        """The target frames of all clips, or their neighbours."""
        return self._at(self.frames, offset)

    def seen(self, offset: int = 0) -> Images:
        """The same, in the colours that networks of two images see."""
        return self._at(self.augmented, offset)

    def usable(self, offset: int = 0) -> Bool[Tensor, "frames 1 height width"]:
        """Valid pixels of the target frames, or of their neighbours."""
        return self._at(self.valid, offset)

    def targets(self) -> Float[Tensor, "batch targets 3 height width"]:
        """The target frames, clip by clip, for the depth network."""
        return self.augmented[:, 1:-1]

    def known_intrinsics(self) -> Float[Tensor, "frames 3 3"] | None:
        """Intrinsics of each target frame, where they are known."""
        if self.intrinsics is None:
            return None
        return self.intrinsics.repeat_interleave(self.clip_length, dim=0)

    def squeezes(self) -> Float[Tensor, " frames"]:
        """The squeeze of each target frame."""
        own = self.frames.new_ones(len(self.frames)) if self.squeeze is None else self.squeeze
        return own.repeat_interleave(self.clip_length)

    def to(self, device: torch.device | str) -> VideoBatch:
        """The same on another device."""
        moved = {
            name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in vars(self).items()
        }
        return VideoBatch(**moved)

    def _at(self, clips: Tensor, offset: int) -> Tensor:
        return clips[:, 1 + offset : 1 + offset + self.clip_length].flatten(0, 1)


def pyramid(images: Images, scales: int) -> list[Float[Tensor, "frames 3 _ _"]]:
    """Images at full size, 1/2, 1/4 and so on, sides rounded up; each a mean of areas."""
    height, width = images.shape[-2:]
    return [
        F.adaptive_avg_pool2d(images, (-(-height // 2**scale), -(-width // 2**scale)))
        for scale in range(scales)
    ]
