"""The depth networks, composed of one encoder, one head and what sets each apart.

What they give out is disparity in the sense of the Depth Anything models: a value that is affine to
inverse depth, frame by frame or, for the video models, over the clip; metric models give metres.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from endodav.models.adapters import adapt, tuned_adapters
from endodav.models.dinov2 import DinoV2
from endodav.models.dpt import DPTHead, PyramidOutput, halvings, no_mix, resize
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
from endodav.models.resnet_depth import ResNetDepth
from endodav.models.temporal import FrameEntry, MotionModule, MotionModules, TemporalState

SCALES = 4  # of the self-supervised outputs


class _DPTNetwork(nn.Module):
    """What all have in common: an encoder and a DPT head; abstract.

    A clip's depth is `decode(encode(frames))`. What `encode` gives depends on each frame alone, so
    that windows which share frames can share it.

    Args:
        encoder: the vision transformer.
        head: the DPT head.
        output: kind of the head's output.
        neck: residual blocks in the encoder.

    Attributes:
        motion: what lets the frames of a clip see each other; None where each is by itself.
    """

    def __init__(
        self,
        encoder: EncoderConfig,
        head: HeadConfig,
        output: Literal["conv", "pyramid"] = "conv",
        neck: NeckConfig | None = None,
    ) -> None:
        super().__init__()
        self.encoder = DinoV2(encoder, build_necks(neck, encoder.width))
        self.head = DPTHead(self.encoder.widths, head, output, self.encoder.dense)
        self.motion: MotionModules | None = None

    def encode(
        self, frames: Float[Tensor, "frames 3 height width"]
    ) -> list[Float[Tensor, "frames _ _ _"]]:
        """What each frame gives by itself: the head's four maps before frames exchange anything.

        Args:
            frames: as the preset prepares them.

        Raises:
            InputError: the sides do not divide into patches.
        """
        images = self.seen(frames)
        grid = self.encoder.grid(images.shape[-2], images.shape[-1])
        return self.head.reassemble(self.encoder(images), grid)

    def decode(
        self, maps: list[Float[Tensor, "time _ _ _"]], wanted: Sequence[int] | None = None
    ) -> Float[Tensor, "wanted out_height out_width"]:
        """Depth of one clip, at the finest scale there is, from what its frames gave.

        Args:
            maps: of all its frames.
            wanted: those whose depth is wanted, in rising order; None for all.

        Raises:
            InputError: the clip is longer than the network attends over.
        """
        return self.activate(self.fused(maps, len(maps[0]), wanted), scales=1)[0][:, 0]

    def predict_clip(
        self, frames: Float[Tensor, "time 3 height width"]
    ) -> Float[Tensor, "time out_height out_width"]:
        """Depth of one clip, at the finest scale there is; frames as the preset prepares them."""
        return self.decode(self.encode(frames))

    def decode_next(
        self,
        maps: list[Float[Tensor, "batch _ _ _"]],
        contexts: Iterable[Tensor],
    ) -> tuple[Float[Tensor, "batch out_height out_width"], FrameEntry]:
        """Depth of the next frame of each stream from what it gave and what those before it left.

        Args:
            maps: of the frame.
            contexts: of `TemporalState`; empty for the first frame.

        Returns:
            The depth, and what this frame leaves.
        """
        assert self.motion is not None, "only networks that look across time have a memory"
        left: list[Tensor] = []
        mix = self.motion.mix_next(contexts, left)
        raw = self.head.fuse_maps(maps, self.encoder.patch_size, mix)
        return self.activate(raw, scales=1)[0][:, 0], tuple(left)

    def work_in(self, pixels: int | None, frames: int) -> None:
        """How many pixels motion modules mix, and finest stages take frames, at once.

        Only speed and memory depend on it. None mixes all pixels together.
        """
        self.head.frames_at_once = frames
        for module in self.motion or ():
            cast(MotionModule, module).pixels_at_once = pixels

    def seen(
        self, frames: Float[Tensor, "frames 3 height width"]
    ) -> Float[Tensor, "frames 3 rows columns"]:
        """What the encoder sees of frames that are prepared as the preset says."""
        return frames

    def fused(
        self,
        maps: list[Float[Tensor, "frames _ _ _"]],
        time: int,
        wanted: Sequence[int] | None = None,
    ) -> list[Float[Tensor, "wanted 1 _ _"]]:
        """The head's outputs for clips of `time` frames, before the last activation."""
        mix = no_mix if self.motion is None else self.motion.mix(time)
        return self.head.fuse_maps(maps, self.encoder.patch_size, mix, wanted)

    def activate(
        self, raw: list[Float[Tensor, "frames 1 _ _"]], scales: int
    ) -> list[Float[Tensor, "frames 1 _ _"]]:
        """The head's outputs behind the last activation, the finest `scales` of them."""
        return [F.relu(x) for x in raw[:scales]]


class DepthAnythingV2(_DPTNetwork):
    """Depth Anything V2 (Yang et al. 2024): images to inverse depth, or to metres.

    Args:
        encoder: the vision transformer.
        head: the DPT head.
        max_depth: metres at most for a metric model; None for affine-invariant inverse depth.
    """

    def __init__(
        self, encoder: EncoderConfig, head: HeadConfig, max_depth: float | None = None
    ) -> None:
        super().__init__(encoder, head)
        self.max_depth = max_depth

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch height width"]:
        """Depth of normalised images.

        Raises:
            InputError: the sides are not multiples of the patch size.
        """
        return self.predict_clip(images)

    def activate(
        self, raw: list[Float[Tensor, "frames 1 _ _"]], scales: int
    ) -> list[Float[Tensor, "frames 1 _ _"]]:
        """Inverse depth, 0 or more; or metres."""
        if self.max_depth is None:
            return super().activate(raw, scales)
        return [self.max_depth * torch.sigmoid(x) for x in raw[:scales]]


class VideoDepthAnything(_DPTNetwork):
    """Video Depth Anything (Chen et al. 2025): clips of at most 32 frames to consistent depth.

    With the weights of Depth Anything V2 under the same names and new motion modules it computes
    what that model does for every frame.
    """

    def __init__(self, encoder: EncoderConfig, head: HeadConfig) -> None:
        super().__init__(encoder, head)
        self.motion = MotionModules(head)

    def forward(
        self, clips: Float[Tensor, "batch time 3 height width"]
    ) -> Float[Tensor, "batch time height width"]:
        """Depth of normalised clips: affine-invariant inverse depth, metres for the metric models.

        Raises:
            InputError: a clip is longer than 32 frames, or its sides do not divide into patches.
        """
        batch, time = clips.shape[:2]
        (depth,) = self.activate(self.fused(self.encode(clips.flatten(0, 1)), time), scales=1)
        return depth.view(batch, time, *depth.shape[2:])

    def advance(
        self, maps: list[Float[Tensor, "batch _ _ _"]], state: TemporalState | None
    ) -> tuple[Float[Tensor, "batch height width"], TemporalState]:
        """Depth of the next frame of each stream.

        Args:
            maps: what `encode` gives of it; the size must not change within a stream.
            state: what this returned for the frame before, None for the first frame.

        Returns:
            The depth, and the state for the next frame.
        """
        return _advance(self, maps, state)


class _AdaptedNetwork(_DPTNetwork):
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
        super().__init__(encoder, head, output.kind, neck)
        self.image_shape = image_shape
        self.output = output
        if adapters is not None:
            for block in self.encoder.blocks:
                adapt(cast(nn.Module, block.mlp), ("fc1", "fc2"), adapters)

    def seen(
        self, frames: Float[Tensor, "frames 3 height width"]
    ) -> Float[Tensor, "frames 3 rows columns"]:
        """RGB in 0..1 at the network's own size."""
        return resize(frames, self.image_shape)

    def activate(
        self, raw: list[Float[Tensor, "frames 1 _ _"]], scales: int
    ) -> list[Float[Tensor, "frames 1 _ _"]]:
        """Disparity at so many scales, finest first."""
        if self.output.kind == "conv":
            maps = halvings(F.relu(raw[0]), scales - 1)
            return [torch.sigmoid(x) for x in maps] if self.output.sigmoid else maps
        return [torch.sigmoid(-x if self.output.inverted else x) for x in raw[:scales]]

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

    motion: MotionModules

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
        maps = self.encode(clips.flatten(0, 1))
        return self.activate(self.fused(maps, clips.shape[1]), SCALES)

    def advance(
        self, maps: list[Float[Tensor, "batch _ _ _"]], state: TemporalState | None
    ) -> tuple[Float[Tensor, "batch out_height out_width"], TemporalState]:
        """Disparity of the next frame of each stream at the finest scale.

        As Video Depth Anything: `maps` is what `encode` gives of the frame, `state` what this
        returned for the one before, None at first.
        """
        return _advance(self, maps, state)

    def seen(
        self, frames: Float[Tensor, "frames 3 height width"]
    ) -> Float[Tensor, "frames 3 rows columns"]:
        """Normalised, at the network's own size."""
        return _normalise(super().seen(frames))

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
        return self.activate(self.fused(self.encode(images), time=1), SCALES)


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
    image_shape = preset.preprocessing.image_shape
    assert image_shape is not None, "the self-supervised families have a fixed input shape"
    if preset.family == "af_sfm":
        return ResNetDepth(image_shape)
    network = {"endodav": EndoDAV, "endodac": EndoDAC, "endoufm": EndoUFM}[preset.family]
    return network(
        preset.encoder, preset.head, image_shape, preset.output, preset.adapters, preset.neck
    )


def _advance(
    network: _DPTNetwork, maps: list[Tensor], state: TemporalState | None
) -> tuple[Tensor, TemporalState]:
    """Depth of the next frame of a stream, and its memory afterwards."""
    depth, entry = network.decode_next(maps, [] if state is None else state.contexts())
    return depth, TemporalState.after(state, entry)


def _parameters(module: Tensor | nn.Module | None) -> list[nn.Parameter]:
    return list(module.parameters()) if isinstance(module, nn.Module) else []


def _normalise(images: Tensor) -> Tensor:
    mean, std = (images.new_tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (images - mean) / std
