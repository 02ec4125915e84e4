"""The depth networks, composed of one encoder, one head and what sets each apart.

What they give out is disparity in the sense of the Depth Anything models: a value that is affine to
inverse depth, frame by frame or, for the video models, over the clip; metric models give metres.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from endodav.models.adapters import adapt, tuned_adapters
from endodav.models.dinov2 import DinoV2
from endodav.models.dpt import DPTHead, PyramidOutput, halvings, resize
from endodav.models.necks import build_necks
from endodav.models.presets import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    AdapterConfig,
    EncoderConfig,
    HeadConfig,
    ModelPreset,
    NeckConfig,
    OutputConfig,
)
from endodav.models.temporal import MotionModules, TemporalState

SCALES = 4  # of the self-supervised outputs


class DepthAnythingV2(nn.Module):
    """Depth Anything V2 (Yang et al. 2024): images to inverse depth, or to metres.

    Args:
        encoder: the vision transformer.
        head: the DPT head.
        max_depth: metres at most for a metric model; None for affine-invariant inverse depth.
    """

    def __init__(
        self, encoder: EncoderConfig, head: HeadConfig, max_depth: float | None = None
    ) -> None:
        super().__init__()
        self.encoder = DinoV2(encoder)
        self.head = DPTHead(self.encoder.widths, head, dense=self.encoder.dense)
        self.max_depth = max_depth

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch height width"]:
        """Depth of normalised images.

        Raises:
            InputError: the sides are not multiples of the patch size.
        """
        grid = self.encoder.grid(images.shape[-2], images.shape[-1])
        (raw,) = self.head(self.encoder(images), grid, self.encoder.patch_size)
        depth = F.relu(raw) if self.max_depth is None else self.max_depth * torch.sigmoid(raw)
        return depth.squeeze(1)

    def predict_clip(
        self, frames: Float[Tensor, "time 3 height width"]
    ) -> Float[Tensor, "time out_height out_width"]:
        """Depth of the frames of a clip, each by itself."""
        depth: Tensor = self(frames)
        return depth


class VideoDepthAnything(nn.Module):
    """Video Depth Anything (Chen et al. 2025): clips of at most 32 frames to consistent depth.

    With the weights of Depth Anything V2 under the same names and new motion modules it computes
    what that model does for every frame.
    """

    def __init__(self, encoder: EncoderConfig, head: HeadConfig) -> None:
        super().__init__()
        self.encoder = DinoV2(encoder)
        self.head = DPTHead(self.encoder.widths, head, dense=self.encoder.dense)
        self.motion = MotionModules(head)

    def forward(
        self, clips: Float[Tensor, "batch time 3 height width"]
    ) -> Float[Tensor, "batch time height width"]:
        """Depth of normalised clips: affine-invariant inverse depth, metres for the metric models.

        Raises:
            InputError: a clip is longer than 32 frames, or its sides do not divide into patches.
        """
        batch, time = clips.shape[:2]
        images = clips.flatten(0, 1)
        grid = self.encoder.grid(images.shape[-2], images.shape[-1])
        tokens = self.encoder(images)
        (raw,) = self.head(tokens, grid, self.encoder.patch_size, self.motion.mix(time))
        return F.relu(raw).view(batch, time, *raw.shape[2:])

    def step(
        self, frame: Float[Tensor, "batch 3 height width"], state: TemporalState | None
    ) -> tuple[Float[Tensor, "batch height width"], TemporalState]:
        """Depth of the next frame of each stream.

        Args:
            frame: normalised; the size must not change within a stream.
            state: what the step before returned, None for the first frame.

        Returns:
            The depth, and the state for the next step.
        """
        (raw,), after = _step(self.encoder, self.head, self.motion, frame, state)
        return F.relu(raw[:, 0]), after

    def predict_clip(
        self, frames: Float[Tensor, "time 3 height width"]
    ) -> Float[Tensor, "time out_height out_width"]:
        """Depth of one clip."""
        depth: Tensor = self(frames[None])[0]
        return depth


class _AdaptedNetwork(nn.Module):
    """What the endoscopic networks share: a frozen base with adapters and necks; abstract.

    Args:
        encoder: the vision transformer.
        head: the DPT head.
        image_shape: rows and columns every input is resized to.
        output: what it gives out.
        adapters: on both linear layers of every MLP of the encoder; None for the bare network.
        neck: residual blocks in the encoder.
    """

    def __init__(
        self,
        encoder: EncoderConfig,
        head: HeadConfig,
        image_shape: tuple[int, int],
        output: OutputConfig,
        adapters: AdapterConfig | None = None,
        neck: NeckConfig | None = None,
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.output = output
        self.encoder = DinoV2(encoder, build_necks(neck, encoder.width))
        self.head = DPTHead(self.encoder.widths, head, output.kind, self.encoder.dense)
        if adapters is not None:
            for block in self.encoder.blocks:
                adapt(cast(nn.Module, block.mlp), ("fc1", "fc2"), adapters)

    def spatial_parameters(self, warm_up: bool = False) -> list[nn.Parameter]:
        """What trains in the spatial phase: the encoder's adapters, and what was added to it."""
        return [*tuned_adapters(self.encoder, warm_up), *self.added_parameters()]

    def added_parameters(self) -> list[nn.Parameter]:
        """What the base does not have, besides adapters: necks and a pyramid output."""
        necks = [p for block in self.encoder.blocks for p in _parameters(block.neck)]
        pyramid = isinstance(self.head.output, PyramidOutput)
        return [*necks, *(self.head.output.parameters() if pyramid else ())]


class EndoDAV(_AdaptedNetwork):
    """EndoDAV (MICCAI 2025): Video Depth Anything, frozen, with adapters for endoscopy.

    Adapters with `temporal` also sit on the last linear layer of every motion module.
    """

    def __init__(
        self,
        encoder: EncoderConfig,
        head: HeadConfig,
        image_shape: tuple[int, int],
        output: OutputConfig,
        adapters: AdapterConfig | None = None,
        neck: NeckConfig | None = None,
    ) -> None:
        super().__init__(encoder, head, image_shape, output, adapters, neck)
        self.motion = MotionModules(head)
        if adapters is not None and adapters.temporal:
            for module in self.motion:
                adapt(cast(nn.Module, module.feed_forward), ("contract",), adapters)

    def forward(
        self, clips: Float[Tensor, "batch time 3 height width"]
    ) -> list[Float[Tensor, "batch*time 1 _ _"]]:
        """Disparity at four scales, finest first.

        Args:
            clips: RGB in 0..1, of any size.

        Returns:
            The frames of all clips in one batch. With the single output map: at the network's size
            and its halvings, unbounded unless squashed. With the pyramid: in 0..1, at 16, 8, 4 and
            2 times the patch grid.

        Raises:
            InputError: a clip is longer than 32 frames.
        """
        images = _normalise(resize(clips.flatten(0, 1), self.image_shape))
        grid = self.encoder.grid(*self.image_shape)
        mix = self.motion.mix(clips.shape[1])
        raw = self.head(self.encoder(images), grid, self.encoder.patch_size, mix)
        return _activate(raw, self.output)

    def step(
        self, frame: Float[Tensor, "batch 3 height width"], state: TemporalState | None
    ) -> tuple[Float[Tensor, "batch out_height out_width"], TemporalState]:
        """Disparity of the next frame of each stream at the finest scale; RGB in 0..1.

        As Video Depth Anything's step: `state` is what the step before returned, None at first.
        """
        image = _normalise(resize(frame, self.image_shape))
        raw, after = _step(self.encoder, self.head, self.motion, image, state)
        return _activate(raw, self.output)[0][:, 0], after

    def predict_clip(
        self, frames: Float[Tensor, "time 3 height width"]
    ) -> Float[Tensor, "time out_height out_width"]:
        """Disparity of one clip at the finest scale; frames are RGB in 0..1."""
        disparity: Tensor = self(frames[None])[0]
        return disparity[:, 0]

    def temporal_parameters(self, warm_up: bool = False) -> list[nn.Parameter]:
        """What trains in the temporal phase: the adapters of the motion modules."""
        return tuned_adapters(self.motion, warm_up)

    def output_parameters(self) -> list[nn.Parameter]:
        """The output layers, which may train in either phase."""
        return list(self.head.output.parameters())


class _AdaptedImageNetwork(_AdaptedNetwork):
    """What EndoDAC and EndoUFM share: an adapted Depth Anything with necks; abstract."""

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> list[Float[Tensor, "batch 1 _ _"]]:
        """Disparity in 0..1 at 16, 8, 4 and 2 times the patch grid.

        Args:
            images: RGB in 0..1, of any size; not normalised, here or later.
        """
        grid = self.encoder.grid(*self.image_shape)
        tokens = self.encoder(resize(images, self.image_shape))
        return _activate(self.head(tokens, grid, self.encoder.patch_size), self.output)

    def predict_clip(
        self, frames: Float[Tensor, "time 3 height width"]
    ) -> Float[Tensor, "time out_height out_width"]:
        """Disparity of the frames of a clip, each by itself, at the finest scale."""
        disparity: Tensor = self(frames)[0]
        return disparity[:, 0]


class EndoDAC(_AdaptedImageNetwork):
    """EndoDAC (MICCAI 2024): Depth Anything with DV-LoRA and bottleneck necks."""


class EndoUFM(_AdaptedImageNetwork):
    """EndoUFM (arXiv 2508.17916): Depth Anything with RV-LoRA and depthwise-separable necks."""


def build(preset: ModelPreset) -> nn.Module:
    """A new network of the preset's architecture, with random weights and only what it uses."""
    if preset.family == "depth_anything_v2":
        return DepthAnythingV2(preset.encoder, preset.head, preset.max_depth)
    if preset.family == "video_depth_anything":
        return VideoDepthAnything(preset.encoder, preset.head)
    network = {"endodav": EndoDAV, "endodac": EndoDAC, "endoufm": EndoUFM}[preset.family]
    image_shape = preset.preprocessing.image_shape
    assert image_shape is not None, "the self-supervised families have a fixed input shape"
    return network(
        preset.encoder, preset.head, image_shape, preset.output, preset.adapters, preset.neck
    )


def _step(
    encoder: DinoV2,
    head: DPTHead,
    motion: MotionModules,
    image: Tensor,
    state: TemporalState | None,
) -> tuple[list[Tensor], TemporalState]:
    """Raw outputs for the next, normalised frame of a stream, and its memory afterwards."""
    grid = encoder.grid(image.shape[-2], image.shape[-1])
    left: list[Tensor] = []
    raw = head(encoder(image), grid, encoder.patch_size, motion.mix_next(state, left))
    entry = tuple(left)
    return raw, TemporalState.start(entry) if state is None else state.then(entry)


def _parameters(module: Tensor | nn.Module | None) -> list[nn.Parameter]:
    return list(module.parameters()) if isinstance(module, nn.Module) else []


def _normalise(images: Tensor) -> Tensor:
    mean, std = (images.new_tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (images - mean) / std


def _activate(raw: list[Tensor], output: OutputConfig) -> list[Tensor]:
    if output.kind == "conv":
        scales = halvings(F.relu(raw[0]), SCALES - 1)
        return [torch.sigmoid(x) for x in scales] if output.sigmoid else scales
    return [torch.sigmoid(-x if output.inverted else x) for x in raw]
