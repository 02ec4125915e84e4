"""The models one can ask for by name: architecture, licence, origin and input, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from endodav.types import Kind, Units

Family = Literal[
    "depth_anything_v2", "video_depth_anything", "endodav", "endodac", "endoufm", "af_sfm"
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
ENDOSCOPY_SHAPE = (224, 280)  # EndoDAC, EndoDAV: 16 x 20 patches
TEMPORAL_WINDOW = 32  # Video Depth Anything, sec. 3.3


@dataclass(frozen=True)
class EncoderConfig:
    """A DINOv2 vision transformer.

    Attributes:
        width: channels of a token.
        depth: number of blocks.
        heads: attention heads of a block.
        taps: the four blocks whose output the head reads, from 0; one may be named again.
        image_size: side of the square image the position table was learned on, in pixels.
        patch_size: side of a patch, in pixels.
        layer_scale: initial gain of every residual branch.
        class_token: whether the class token goes through the blocks with the patches. EndoDAV's
            release can leave it out; weights are laid out the same.
        stem: channels of the maps at 1/2, 1/4 and 1/8 of the image that convolutions make on the
            way to the patches, which are then 16 pixels wide. The head reads the two finest levels
            from them and two blocks, so that there are two taps. None embeds each patch linearly.
    """

    width: int
    depth: int
    heads: int
    taps: tuple[int, ...]
    image_size: int = 518
    patch_size: int = 14
    layer_scale: float = 1.0
    class_token: bool = True
    stem: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class HeadConfig:
    """A DPT head.

    Attributes:
        features: channels of the fused maps.
        out_channels: channels of the four reassembled maps, finest first.
    """

    features: int
    out_channels: tuple[int, int, int, int]


@dataclass(frozen=True)
class AdapterConfig:
    """Low-rank or subspace adapters of frozen linear layers, see `endodav.models.adapters`.

    Attributes:
        kind: the rule by which they change a weight.
        rank: of the low-rank factors; SSB has none.
        scale: factor of the low-rank product, alpha / rank in LoRA's paper; SSB has none.
        temporal: whether the motion modules get adapters too, besides the encoder's MLPs.
    """

    kind: Literal["lora", "dvlora", "rvlora", "ssb"]
    rank: int = 4
    scale: float = 1.0
    temporal: bool = False


@dataclass(frozen=True)
class NeckConfig:
    """Convolutional residual blocks on the patch grid, behind some blocks of the encoder.

    Attributes:
        kind: EndoDAC's bottleneck, or EndoUFM's depthwise-separable block with attention.
        blocks: numbers of the encoder blocks they follow, from 0.
    """

    kind: Literal["bottleneck", "separable"]
    blocks: tuple[int, ...]


@dataclass(frozen=True)
class OutputConfig:
    """What a self-supervised network gives out.

    Attributes:
        kind: one map by the DPT output layer, halved for the coarser scales; or a pyramid with a
            sigmoid at each scale.
        sigmoid: squash the single map as well.
        inverted: turn the pyramid round, 1 - sigmoid.
    """

    kind: Literal["conv", "pyramid"] = "conv"
    sigmoid: bool = False
    inverted: bool = False


@dataclass(frozen=True)
class Preprocessing:
    """How frames become the network's input.

    Attributes:
        rule: the resizing rule of `endodav.inference.preprocess` named after who uses it.
        mean: subtracted from RGB in 0..1.
        std: divided by.
        input_size: length of the shorter side, in pixels; rules "dav2" and "vda".
        image_shape: rows and columns; rule "endodav".
        multiple: of which both sides of the input must be; the side of a patch.
    """

    rule: Literal["dav2", "vda", "endodav"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    input_size: int | None = None
    image_shape: tuple[int, int] | None = None
    multiple: int = 14


@dataclass(frozen=True)
class ModelPreset:
    """A model by name.

    Attributes:
        name: what users call it.
        family: which network of `endodav.models.depth` it is.
        encoder: the vision transformer.
        head: the DPT head.
        preprocessing: what its input looks like.
        kind: what its numbers mean.
        units: in what they are measured, after `to_millimetres`.
        max_window: most frames it sees at once; 1 for image models.
        licence: SPDX identifier of the weights' licence, or what is known of it.
        permissive: whether that licence allows commercial use.
        origin: where the weights come from.
        repo_id: repository on the Hugging Face hub, None where none is published.
        filename: the checkpoint in that repository, or among the bundled weights.
        sha256: of the checkpoint, where it is pinned.
        to_millimetres: factor from the network's output to `units`, for metric models.
        max_depth: metres that a metric image model reaches at most.
        adapters: what tunes the frozen network, if anything.
        neck: residual blocks in the encoder, if any.
        output: of the self-supervised families.
        strategy: how a video model's windows are joined unless asked otherwise, a name of
            `endodav.inference.windows.PLANS`.
    """

    name: str
    family: Family
    encoder: EncoderConfig
    head: HeadConfig
    preprocessing: Preprocessing
    kind: Kind
    units: Units
    max_window: int
    licence: str
    permissive: bool
    origin: str
    repo_id: str | None = None
    filename: str | None = None
    sha256: str | None = None
    to_millimetres: float = 1.0
    max_depth: float | None = None
    adapters: AdapterConfig | None = None
    neck: NeckConfig | None = None
    output: OutputConfig = OutputConfig()
    strategy: str = "anchored"


@dataclass(frozen=True)
class _Size:
    """One of the published sizes of the Depth Anything models."""

    name: str
    code: str
    encoder: EncoderConfig
    head: HeadConfig
    licence: str

    @property
    def permissive(self) -> bool:
        return self.licence == "Apache-2.0"


SMALL = EncoderConfig(width=384, depth=12, heads=6, taps=(2, 5, 8, 11))
BASE = EncoderConfig(width=768, depth=12, heads=12, taps=(2, 5, 8, 11))
LARGE = EncoderConfig(width=1024, depth=24, heads=16, taps=(4, 11, 17, 23))
SMALL_HEAD = HeadConfig(features=64, out_channels=(48, 96, 192, 384))
BASE_HEAD = HeadConfig(features=128, out_channels=(96, 192, 384, 768))
LARGE_HEAD = HeadConfig(features=256, out_channels=(256, 512, 1024, 1024))

_SIZES = (
    _Size("small", "vits", SMALL, SMALL_HEAD, "Apache-2.0"),
    _Size("base", "vitb", BASE, BASE_HEAD, "CC-BY-NC-4.0"),
    _Size("large", "vitl", LARGE, LARGE_HEAD, "CC-BY-NC-4.0"),
)
_DAV2_INPUT = Preprocessing("dav2", IMAGENET_MEAN, IMAGENET_STD, input_size=518)
_VDA_INPUT = Preprocessing("vda", IMAGENET_MEAN, IMAGENET_STD, input_size=518)
_TINY_INPUT = Preprocessing("vda", IMAGENET_MEAN, IMAGENET_STD, input_size=176, multiple=16)
# These networks resize and, where they want it, normalise by themselves.
_ENDOSCOPY_INPUT = Preprocessing(
    "endodav", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), image_shape=ENDOSCOPY_SHAPE
)


def _tiny() -> ModelPreset:
    return ModelPreset(
        name="endodav-tiny",
        family="video_depth_anything",
        encoder=EncoderConfig(
            width=192,
            depth=8,
            heads=3,
            taps=(7, 7),
            image_size=160,
            patch_size=16,
            stem=(24, 48, 96),
        ),
        head=HeadConfig(features=64, out_channels=(32, 64, 96, 128)),
        preprocessing=_TINY_INPUT,
        kind=Kind.INVERSE_DEPTH,
        units=Units.AFFINE_INVARIANT,
        max_window=TEMPORAL_WINDOW,
        licence="Apache-2.0",
        permissive=True,
        origin="trained by this project on scenes rendered by endodav",
        filename="endodav-tiny.safetensors",
    )


def _depth_anything_v2(size: _Size) -> ModelPreset:
    return ModelPreset(
        name=f"depth-anything-v2-{size.name}",
        family="depth_anything_v2",
        encoder=size.encoder,
        head=size.head,
        preprocessing=_DAV2_INPUT,
        kind=Kind.INVERSE_DEPTH,
        units=Units.AFFINE_INVARIANT,
        max_window=1,
        licence=size.licence,
        permissive=size.permissive,
        origin="Depth Anything V2 (Yang et al., NeurIPS 2024)",
        repo_id=f"depth-anything/Depth-Anything-V2-{size.name.capitalize()}",
        filename=f"depth_anything_v2_{size.code}.pth",
    )


def _depth_anything_v2_metric(
    size: _Size, place: str, trained_on: str, max_depth: float
) -> ModelPreset:
    repository = f"Depth-Anything-V2-Metric-{trained_on}-{size.name.capitalize()}"
    return ModelPreset(
        name=f"depth-anything-v2-metric-{place}-{size.name}",
        family="depth_anything_v2",
        encoder=size.encoder,
        head=size.head,
        preprocessing=_DAV2_INPUT,
        kind=Kind.DEPTH,
        units=Units.MILLIMETRES,
        max_window=1,
        licence=size.licence,
        permissive=size.permissive,
        origin=f"Depth Anything V2 (Yang et al., NeurIPS 2024), tuned on {trained_on}",
        repo_id=f"depth-anything/{repository}",
        filename=f"depth_anything_v2_metric_{trained_on.lower()}_{size.code}.pth",
        to_millimetres=1000.0,
        max_depth=max_depth,
    )


def _video_depth_anything(size: _Size) -> ModelPreset:
    return ModelPreset(
        name=f"video-depth-anything-{size.name}",
        family="video_depth_anything",
        encoder=size.encoder,
        head=size.head,
        preprocessing=_VDA_INPUT,
        kind=Kind.INVERSE_DEPTH,
        units=Units.AFFINE_INVARIANT,
        max_window=TEMPORAL_WINDOW,
        licence=size.licence,
        permissive=size.permissive,
        origin="Video Depth Anything (Chen et al., CVPR 2025)",
        repo_id=f"depth-anything/Video-Depth-Anything-{size.name.capitalize()}",
        filename=f"video_depth_anything_{size.code}.pth",
        strategy="vda",
    )


def _metric_video_depth_anything(size: _Size) -> ModelPreset:
    return ModelPreset(
        name=f"metric-video-depth-anything-{size.name}",
        family="video_depth_anything",
        encoder=size.encoder,
        head=size.head,
        preprocessing=_VDA_INPUT,
        kind=Kind.DEPTH,
        units=Units.MILLIMETRES,
        max_window=TEMPORAL_WINDOW,
        licence=size.licence,
        permissive=size.permissive,
        origin="Video Depth Anything (Chen et al., CVPR 2025), metric",
        repo_id=f"depth-anything/Metric-Video-Depth-Anything-{size.name.capitalize()}",
        filename=f"metric_video_depth_anything_{size.code}.pth",
        to_millimetres=1000.0,
        strategy="vda",
    )


@dataclass(frozen=True)
class _Endoscopic:
    """What sets the self-supervised endoscopic families apart from each other."""

    family: Family
    origin: str
    max_window: int
    taps: tuple[int, int, int, int]
    adapters: AdapterConfig
    neck: NeckConfig | None
    output: OutputConfig


_NECK_BLOCKS = (2, 5, 8, 11)
_LAST_FOUR = (8, 9, 10, 11)  # what the releases of EndoDAC and EndoUFM read
_ENDOSCOPIC = (
    _Endoscopic(
        family="endodav",
        origin="EndoDAV (MICCAI 2025)",
        max_window=TEMPORAL_WINDOW,
        taps=(2, 5, 8, 11),
        adapters=AdapterConfig("ssb", temporal=True),
        neck=None,
        output=OutputConfig("conv"),
    ),
    _Endoscopic(
        family="endodac",
        origin="EndoDAC (Cui et al., MICCAI 2024)",
        max_window=1,
        taps=_LAST_FOUR,
        adapters=AdapterConfig("dvlora"),
        neck=NeckConfig("bottleneck", _NECK_BLOCKS),
        output=OutputConfig("pyramid"),
    ),
    _Endoscopic(
        family="endoufm",
        origin="EndoUFM (arXiv 2508.17916)",
        max_window=1,
        taps=_LAST_FOUR,
        adapters=AdapterConfig("rvlora"),
        neck=NeckConfig("separable", _NECK_BLOCKS),
        output=OutputConfig("pyramid"),
    ),
)


def _endoscopic(model: _Endoscopic, size: _Size) -> ModelPreset:
    encoder = EncoderConfig(
        size.encoder.width,
        size.encoder.depth,
        size.encoder.heads,
        taps=model.taps,
        layer_scale=1e-5,
    )
    return ModelPreset(
        name=f"{model.family}-{size.name}",
        family=model.family,
        encoder=encoder,
        head=size.head,
        preprocessing=_ENDOSCOPY_INPUT,
        kind=Kind.INVERSE_DEPTH,
        units=Units.AFFINE_INVARIANT,
        max_window=model.max_window,
        licence="not published",
        permissive=False,
        origin=model.origin,
        adapters=model.adapters,
        neck=model.neck,
        output=model.output,
    )


# AF-SfMLearner's ResNet and U-Net have one size and nothing to configure.
_NO_ENCODER = EncoderConfig(width=0, depth=0, heads=0, taps=(), patch_size=32)
_NO_HEAD = HeadConfig(features=0, out_channels=(0, 0, 0, 0))


def _af_sfm() -> ModelPreset:
    return ModelPreset(
        name="af-sfm",
        family="af_sfm",
        encoder=_NO_ENCODER,
        head=_NO_HEAD,
        preprocessing=Preprocessing(
            "endodav", (0.0,) * 3, (1.0,) * 3, image_shape=(256, 320), multiple=32
        ),
        kind=Kind.INVERSE_DEPTH,
        units=Units.AFFINE_INVARIANT,
        max_window=1,
        licence="not published",
        permissive=False,
        origin="AF-SfMLearner (Shao et al., MedIA 2022)",
        output=OutputConfig("pyramid"),
    )


_ALL = (
    _tiny(),
    *(_depth_anything_v2(size) for size in _SIZES),
    *(_depth_anything_v2_metric(size, "indoor", "Hypersim", 20.0) for size in _SIZES),
    *(_depth_anything_v2_metric(size, "outdoor", "VKITTI", 80.0) for size in _SIZES),
    *(_video_depth_anything(size) for size in _SIZES),
    *(_metric_video_depth_anything(size) for size in _SIZES),
    *(_endoscopic(model, size) for model in _ENDOSCOPIC for size in _SIZES[:2]),
    _af_sfm(),
)

PRESETS: Mapping[str, ModelPreset] = MappingProxyType({preset.name: preset for preset in _ALL})
"""Every model that has a name."""
