"""Camera motion and intrinsics from the ResNet features of two images (EndoDAC, MICCAI 2024).

Both come without scale: the translation is in the unit of the depth it is trained with.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from endodav.geometry.camera import rigid, rotation_from_axis_angle
from endodav.models.resnet import WIDTHS as ENCODER_WIDTHS
from endodav.models.resnet import ResNet18

WIDTH = 256
MOTIONS = 2  # official checkpoints predict two; training uses the first
MOTION_SCALE = 0.001  # Zhou et al., CVPR 2017: a new network predicts hardly any motion
CENTRE_SHARE = 0.5  # principal point, and least focal length, of a new or extreme prediction


class Motion(NamedTuple):
    """Predicted motions of the camera, and the feature they came from.

    Attributes:
        axis_angle: rotation vector in radians, for `camera.rotation_from_axis_angle`.
        translation: in the unit of depth.
        feature: what the intrinsics are read from.
    """

    axis_angle: Float[Tensor, "batch motions 3"]
    translation: Float[Tensor, "batch motions 3"]
    feature: Float[Tensor, "batch width rows columns"]


class PoseDecoder(nn.Module):
    """The coarsest map of a `ResNet18` to two motions, of which the first is meant.

    Args:
        motion_scale: what the last layer's output is multiplied by.
    """

    def __init__(self, motion_scale: float = MOTION_SCALE) -> None:
        super().__init__()
        self.motion_scale = motion_scale
        self.squeeze = nn.Conv2d(ENCODER_WIDTHS[-1], WIDTH, 1)
        self.conv1 = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.conv2 = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.project = nn.Conv2d(WIDTH, 6 * MOTIONS, 1)

    def forward(self, feature: Float[Tensor, "batch width rows columns"]) -> Motion:
        """Predict; the feature in the result is the second convolution's, before its ReLU."""
        x = F.relu(self.conv1(F.relu(self.squeeze(feature))))
        feature = self.conv2(x)
        motions = self.motion_scale * self.project(F.relu(feature)).mean(dim=(2, 3))
        axis_angle, translation = motions.unflatten(1, (MOTIONS, 6)).split(3, dim=-1)
        return Motion(axis_angle, translation, feature)


class IntrinsicsHead(nn.Module):
    """Focal lengths and principal point from the pose decoder's feature."""

    def __init__(self) -> None:
        super().__init__()
        self.focal = nn.Conv2d(WIDTH, 2, 1, bias=False)
        self.centre = nn.Conv2d(WIDTH, 2, 1, bias=False)

    def forward(
        self, feature: Float[Tensor, "batch width rows columns"], size: tuple[int, int]
    ) -> Float[Tensor, "batch 3 3"]:
        """Intrinsics in pixels of an image of (height, width) `size`.

        The focal length is above half the image's side; the principal point is free.
        """
        pooled = feature.mean(dim=(2, 3), keepdim=True)
        sides = pooled.new_tensor(size[::-1])
        focal = (F.softplus(self.focal(pooled).flatten(1)) + CENTRE_SHARE) * sides
        centre = (self.centre(pooled).flatten(1) + CENTRE_SHARE) * sides
        bottom = pooled.new_tensor([[0.0, 0.0, 1.0]]).expand(len(feature), 1, 3)
        top = torch.cat([torch.diag_embed(focal), centre.unsqueeze(-1)], dim=-1)
        return torch.cat([top, bottom], dim=1)


class CameraNetwork(nn.Module):
    """Motion of the camera between two images, and its intrinsics.

    Args:
        motion_scale: of the decoder.

    Attributes:
        encoder: of the two images, stacked.
        decoder: to their motion.
        intrinsics: to the camera.
    """

    def __init__(self, motion_scale: float = MOTION_SCALE) -> None:
        super().__init__()
        self.encoder = ResNet18(images=2)
        self.decoder = PoseDecoder(motion_scale)
        self.intrinsics = IntrinsicsHead()

    def forward(
        self,
        first: Float[Tensor, "batch 3 height width"],
        second: Float[Tensor, "batch 3 height width"],
    ) -> Motion:
        """Motion read from `first` and `second`, in 0..1; whose it is, training decides."""
        return cast(Motion, self.decoder(self.encoder(torch.cat([first, second], dim=1))[-1]))


def transform_of(motion: Motion) -> Float[Tensor, "batch 4 4"]:
    """The first of the predicted motions as a rigid motion."""
    return rigid(rotation_from_axis_angle(motion.axis_angle[:, 0]), motion.translation[:, 0])
