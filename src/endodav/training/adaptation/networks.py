"""The networks that learn together: depth, and what explains how its frames differ."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from endodav.models.decompose import AdjustNet, DecomposeDecoder, Decomposition
from endodav.models.depth import EndoDAC, EndoDAV, EndoUFM
from endodav.models.dpt import resize
from endodav.models.flow import (
    PairNetwork,
    appearance_flow_decoder,
    optical_flow_decoder,
)
from endodav.models.pose import CameraNetwork
from endodav.models.resnet import ResNet18
from endodav.models.resnet_depth import ResNetDepth
from endodav.training.adaptation.camera import Camera, DirectCamera
from endodav.training.engine import Engine

Disparities = list[Float[Tensor, "frames 1 _ _"]]


DepthNetwork = EndoDAV | EndoDAC | EndoUFM | ResNetDepth


def disparities(
    networks: Networks, clips: Float[Tensor, "batch time 3 height width"]
) -> Disparities:
    """Disparity of all frames at four scales, the finest first; clips are in 0..1."""
    seen = clips if isinstance(networks.depth, EndoDAV) else clips.flatten(0, 1)
    found = cast(Disparities, networks.depth(seen))
    return [networks.unit * each for each in found]


class RegistrationNetworks(nn.Module):
    """What AF-SfMLearner, EndoDAC and EndoDAV train.

    Args:
        depth: the depth network.
        camera: says how the camera moved; a new network where it is None.
        teacher: of a camera network that takes lessons.

    Attributes:
        unit: what the network's answers are multiplied by to be the disparities of the losses.
    """

    unit: Float[Tensor, ""]

    def __init__(
        self,
        depth: DepthNetwork,
        camera: Camera | None = None,
        teacher: DirectCamera | None = None,
    ) -> None:
        super().__init__()
        self.depth = depth
        self.register_buffer("unit", torch.ones(()))
        self.flow = PairNetwork(optical_flow_decoder())
        self.appearance = PairNetwork(appearance_flow_decoder())
        self.camera = CameraNetwork() if camera is None else camera
        self.teacher = teacher

    def train_flow(self) -> None:
        """Batch norms of the optical flow count its batches; all others hold still."""
        self.eval()
        self.flow.train()

    def train_depth(self) -> None:
        """The other way round."""
        self.train()
        self.flow.eval()

    def encoders(self) -> list[ResNet18]:
        """What can start from ImageNet."""
        own = [self.depth.encoder] if isinstance(self.depth, ResNetDepth) else []
        return [self.flow.encoder, self.appearance.encoder, *_encoder(self.camera), *own]

    def companions(self) -> list[nn.Parameter]:
        """What trains beside the depth network, in the same phase."""
        return [*self.appearance.parameters(), *self.camera.parameters()]


class DecompositionNetworks(nn.Module):
    """What EndoUFM trains.

    Args:
        depth: images to disparity at four scales; its encoder's taps are decomposed, too.
        decompose: from those taps and the image to reflectance and light.
        camera: says how the camera moved; a new network where it is None.
        teacher: of a camera network that takes lessons.

    Attributes:
        unit: as in `RegistrationNetworks`.
    """

    unit: Float[Tensor, ""]

    def __init__(
        self,
        depth: EndoUFM,
        decompose: DecomposeDecoder,
        camera: Camera | None = None,
        teacher: DirectCamera | None = None,
    ) -> None:
        super().__init__()
        self.depth = depth
        self.register_buffer("unit", torch.ones(()))
        self.decompose = decompose
        self.adjust = AdjustNet()
        self.camera = CameraNetwork() if camera is None else camera
        self.teacher = teacher

    def factors(self, images: Float[Tensor, "batch 3 height width"]) -> Decomposition:
        """Reflectance and light of images in 0..1."""
        encoder = self.depth.encoder
        taps = encoder(resize(images, self.depth.image_shape))
        grid = encoder.grid(*self.depth.image_shape)
        return cast(Decomposition, self.decompose(taps, grid, images))

    def encoders(self) -> list[ResNet18]:
        """What can start from ImageNet."""
        return _encoder(self.camera)

    def companions(self) -> list[nn.Parameter]:
        """What trains beside the depth network."""
        parts = (self.decompose, self.adjust, self.camera)
        return [parameter for part in parts for parameter in part.parameters()]


def _encoder(camera: Camera) -> list[ResNet18]:
    return [camera.encoder] if isinstance(camera, CameraNetwork) else []


Networks = RegistrationNetworks | DecompositionNetworks


def place(networks: Networks, engine: Engine) -> None:
    """Bring networks to the engine's device, to compute in its precision and as one over processes.

    Each network answers in float32, so that geometry and losses stay exact: a pixel's coordinate
    has no room in the 8 bits of bfloat16. The camera computes in float32 as well, for motions are
    thousandths, and so does who teaches it. Batch norms see the clips of all GPUs; torch has no
    such norm for the CPU, where each process takes its own.
    """
    networks.to(engine.device)
    if engine.processes > 1 and engine.device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(networks)  # type: ignore[no-untyped-call]
    for network in networks.children():
        if network not in (networks.camera, networks.teacher):
            engine.lower_precision(network)


def running_statistics(networks: nn.Module) -> list[Tensor]:
    """The means and variances that batch norms keep."""
    return [buffer for buffer in networks.buffers() if buffer.is_floating_point()]
