"""Official names of weights to ours and back, as data.

A table has one row for each kind of tensor: the official name and ours. `#` stands for a number,
the same in both names, and `*` for the last part of a name (weight, bias, ...). The tables hold in
both directions. What official checkpoints carry although nothing uses it is listed as well, so that
the rest must fit exactly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain, zip_longest
from types import MappingProxyType
from typing import Literal

from torch import Tensor

from endodav.errors import WeightsError

Row = tuple[str, str]
Table = tuple[Row, ...]
Family = Literal[
    "dinov2",
    "motion_module",
    "bottleneck",
    "separable",
    "conv_attention",
    "depth_anything_v2",
    "video_depth_anything",
    "endodav",
    "endodac",
    "endoufm",
    "af_sfm",
    "resnet18_2img",
    "pose_decoder",
    "intrinsics_head",
    "position_decoder",
    "transform_decoder",
    "disparity_decoder",
    "decompose_decoder",
    "adjust_net",
]


def under(official: str, ours: str, table: Table) -> Table:
    """The rows of `table` with a prefix on either side."""
    return tuple((official + theirs, ours + own) for theirs, own in table)


BLOCK: Table = (
    ("norm1.*", "attention_norm.*"),
    ("attn.qkv.*", "attention.qkv.*"),
    ("attn.proj.*", "attention.out.*"),
    ("ls1.gamma", "attention_scale.gain"),
    ("norm2.*", "mlp_norm.*"),
    ("mlp.fc#.lora_*", "mlp.fc#.adapter.*"),
    ("mlp.fc#.*", "mlp.fc#.*"),
    ("ls2.gamma", "mlp_scale.gain"),
)
ENCODER: Table = (
    ("cls_token", "class_token"),
    ("pos_embed", "position_table"),
    ("patch_embed.proj.*", "patch_embed.*"),
    *under("blocks.#.", "blocks.#.", BLOCK),
    ("norm.*", "norm.*"),
)
BOTTLENECK: Table = (
    ("conv1.*", "reduce.*"),
    ("norm1.*", "reduce_norm.*"),
    ("conv2.*", "mix.*"),
    ("norm2.*", "mix_norm.*"),
    ("conv3.*", "expand.*"),
    ("norm3.*", "expand_norm.*"),
)
SEPARABLE: Table = (
    ("conv1.*", "reduce.*"),
    ("norm1.*", "reduce_norm.*"),
    ("conv2.*", "depthwise.*"),
    ("norm2.*", "depthwise_norm.*"),
    ("conv3.*", "pointwise.*"),
    ("norm3.*", "pointwise_norm.*"),
    ("conv4.*", "expand.*"),
    ("norm4.*", "expand_norm.*"),
)
CONV_ATTENTION: Table = (
    ("ca.se.0.*", "squeeze.*"),
    ("ca.se.2.*", "excite.*"),
    ("sa.conv.*", "spatial.*"),
)
BOTTLENECKS: Table = under("blocks.#.residual_.", "blocks.#.neck.", BOTTLENECK)
SEPARABLES: Table = (
    *under("blocks.#.residual_.", "blocks.#.neck.residual.", SEPARABLE),
    *under("blocks.#.dual_attention_.", "blocks.#.neck.attention.", CONV_ATTENTION),
)
HEAD: Table = (
    ("projects.#.*", "project.#.*"),
    ("resize_layers.#.*", "resize.#.*"),
    *((f"scratch.layer{i + 1}_rn.*", f"lateral.{i}.*") for i in range(4)),
    *(
        row
        for i in range(4)
        for row in under(
            f"scratch.refinenet{i + 1}.",
            f"fuse.{i}.",
            (
                ("out_conv.*", "project.*"),
                *((("resConfUnit1.conv#.*", "lateral.conv#.*"),) if i < 3 else ()),
                ("resConfUnit2.conv#.*", "refine.conv#.*"),
            ),
        )
    ),
    ("scratch.output_conv1.*", "output.reduce.*"),
    ("scratch.output_conv2.0.*", "output.refine.*"),
    ("scratch.output_conv2.2.*", "output.project.*"),
    *(
        row
        for i in range(4)
        for row in under(
            f"conv_depth_{i + 1}.head.",
            f"output.{i}.",
            (("0.*", "reduce.*"), ("2.*", "refine.*"), ("4.*", "project.*")),
        )
    ),
)
MOTION: Table = under(
    "temporal_transformer.",
    "",
    (
        ("norm.*", "norm.*"),
        ("proj_in.*", "project_in.*"),
        *under(
            "transformer_blocks.0.",
            "",
            (
                ("attention_blocks.#.to_q.*", "attentions.#.query.*"),
                ("attention_blocks.#.to_k.*", "attentions.#.key.*"),
                ("attention_blocks.#.to_v.*", "attentions.#.value.*"),
                ("attention_blocks.#.to_out.0.*", "attentions.#.out.*"),
                ("norms.#.*", "attentions.#.norm.*"),
                ("ff.net.0.proj.*", "feed_forward.expand.*"),
                ("ff.net.2.lora_*", "feed_forward.contract.adapter.*"),
                ("ff.net.2.*", "feed_forward.contract.*"),
                ("ff_norm.*", "feed_forward.norm.*"),
            ),
        ),
        ("proj_out.*", "project_out.*"),
    ),
)
RESNET18: Table = (
    ("conv1.*", "stem.*"),
    ("bn1.*", "stem_norm.*"),
    *(
        row
        for i in range(4)
        for row in under(
            f"layer{i + 1}.#.",
            f"stages.{i}.#.",
            (
                ("conv#.*", "conv#.*"),
                ("bn#.*", "norm#.*"),
                ("downsample.0.*", "shortcut.conv.*"),
                ("downsample.1.*", "shortcut.norm.*"),
            ),
        )
    ),
)
# EndoDAV's decoders list each convolution twice; older programs have only the numbered names.
POSE: Table = (
    ("net.0.*", "squeeze.*"),
    ("net.1.*", "conv1.*"),
    ("net.2.*", "conv2.*"),
    ("net.3.*", "project.*"),
)
INTRINSICS: Table = (("focal_length_conv.*", "focal.*"), ("offsets_conv.*", "centre.*"))
DECOMPOSE: Table = (
    *under("", "head.", HEAD),
    *(
        row
        for theirs, ours in (("light", "light"), ("albedo", "reflectance"))
        for row in under(
            f"conv_{theirs}.",
            f"{ours}.",
            (
                ("conv1.*", "from_features.*"),
                ("conv2.*", "from_image.*"),
                ("conv3.*", "project.*"),
            ),
        )
    ),
)
ADJUST: Table = (("decoder.3.*", "project.*"), ("decoder.#.conv.conv.*", "convs.#.*"))


def _pyramid(output: str) -> Table:
    """A decoder of five stages and four outputs; `output` is what an output adds to its name."""
    stages = (
        (f"decoder.{2 * i + j}.conv.conv.*", f"stages.{i}.{part}.*")
        for i in range(5)
        for j, part in enumerate(("lift", "merge"))
    )
    outputs = ((f"decoder.{10 + scale}{output}.*", f"outputs.{scale}.*") for scale in range(4))
    return (*stages, *outputs)


@dataclass(frozen=True)
class Names:
    """How one family names its tensors.

    Attributes:
        table: official name and ours of every tensor that is used.
        unused: official names that exist for nothing: the token that masks in DINOv2's training,
            position codes that are computed, the unit of the coarsest fusion that adds nothing,
            ImageNet's classifier, a squeeze that is never called, and second names of one tensor.
    """

    table: Table
    unused: tuple[str, ...] = ()


_MASK = "mask_token"
_NO_LATERAL = "scratch.refinenet4.resConfUnit1.conv#.*"
_CODE = "temporal_transformer.transformer_blocks.0.attention_blocks.#.pos_encoder.pe"
_UPSCALE = "convs.upconv_#_#.conv.conv.*"


def _image_network(encoder: str, head: str, necks: Table = ()) -> Names:
    return Names(
        table=under(encoder, "encoder.", ENCODER + necks) + under(head, "head.", HEAD),
        unused=(encoder + _MASK, head + _NO_LATERAL),
    )


def _video_network(necks: Table = ()) -> Names:
    names = _image_network("pretrained.", "head.", necks)
    modules = "head.motion_modules.#."
    return Names(
        names.table + under(modules, "motion.#.", MOTION), (*names.unused, modules + _CODE)
    )


FAMILIES: Mapping[Family, Names] = MappingProxyType(
    {
        "dinov2": Names(ENCODER, (_MASK,)),
        "motion_module": Names(MOTION, (_CODE,)),
        "bottleneck": Names(BOTTLENECK),
        "separable": Names(SEPARABLE),
        "conv_attention": Names(CONV_ATTENTION),
        "depth_anything_v2": _image_network("pretrained.", "depth_head."),
        "video_depth_anything": _video_network(),
        "endodav": _video_network(BOTTLENECKS),
        "endodac": _image_network("encoder.", "depth_head.", BOTTLENECKS),
        "endoufm": _image_network("encoder.", "depth_head.", SEPARABLES),
        # the two files of a release, encoder and decoder, as one
        "af_sfm": Names(
            under("encoder.", "encoder.", RESNET18) + under("", "decoder.", _pyramid(".conv")),
            ("encoder.fc.*", _UPSCALE, "convs.dispconv_#.conv.*"),
        ),
        "resnet18_2img": Names(under("encoder.", "", RESNET18), ("encoder.fc.*",)),
        "pose_decoder": Names(POSE, ("convs.squeeze.*", "convs.pose_#.*")),
        "intrinsics_head": Names(INTRINSICS, ("convs_suqeeze.*",)),
        "position_decoder": Names(_pyramid(""), (_UPSCALE, "convs.position_conv_#.*")),
        "transform_decoder": Names(_pyramid(".conv"), (_UPSCALE, "convs.transform_conv_#.conv.*")),
        "disparity_decoder": Names(_pyramid(".conv"), (_UPSCALE, "convs.dispconv_#.conv.*")),
        "decompose_decoder": Names(
            under("decompose_head.", "", DECOMPOSE), ("decompose_head." + _NO_LATERAL,)
        ),
        "adjust_net": Names(ADJUST),
    }
)


def to_ours(state: Mapping[str, Tensor], family: Family) -> dict[str, Tensor]:
    """Rename an official state dict, and leave out what nothing uses.

    Names that the family does not have stay as they are, so that loading strictly names them.
    """
    names = FAMILIES[family]
    return {
        _translate(name, names.table) or name: value
        for name, value in state.items()
        if not any(_compiled(pattern).fullmatch(name) for pattern in names.unused)
    }


def to_official(state: Mapping[str, Tensor], family: Family) -> dict[str, Tensor]:
    """Rename our state dict as the official program does, without what nothing uses.

    Raises:
        WeightsError: the family does not have a name.
    """
    table = tuple((ours, official) for official, ours in FAMILIES[family].table)
    renamed = {}
    for name, value in state.items():
        official = _translate(name, table)
        if official is None:
            raise WeightsError(
                f"The official {family} has no tensor for {name}; name the family of this network."
            )
        renamed[official] = value
    return renamed


def _translate(name: str, table: Table) -> str | None:
    """The other name of a tensor by the first row that fits."""
    for pattern, other in table:
        match = _compiled(pattern).fullmatch(name)
        if match:
            pieces = re.split(r"[#*]", other)
            return "".join(chain(*zip_longest(pieces, match.groups(), fillvalue="")))
    return None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    literal = re.escape(pattern).replace(r"\#", r"(\d+)").replace(r"\*", r"(\w+)")
    return re.compile(literal)
