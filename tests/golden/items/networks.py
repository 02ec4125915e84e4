"""Golden items about what the networks compute: 01, 02, 03, 09, 11a and 11b."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from endodav.inference.preprocess import network_input
from endodav.models.depth import DepthAnythingV2, EndoDAC, EndoDAV, EndoUFM, VideoDepthAnything
from endodav.models.dinov2 import DinoV2
from endodav.models.dpt import resize
from endodav.models.necks import Bottleneck, ConvAttention, SeparableBottleneck
from endodav.models.presets import (
    BASE,
    BASE_HEAD,
    LARGE,
    LARGE_HEAD,
    PRESETS,
    SMALL,
    SMALL_HEAD,
    AdapterConfig,
    EncoderConfig,
    HeadConfig,
    NeckConfig,
    OutputConfig,
)
from endodav.models.temporal import MotionModule
from endodav.weights.keymaps import Family, to_ours
from tests.golden import outside
from tests.golden.case import Case, Runner
from tests.golden.items import trainable

Config = Mapping[str, Any]

SIZES: Mapping[str, tuple[EncoderConfig, HeadConfig]] = {
    "vits": (SMALL, SMALL_HEAD),
    "vitb": (BASE, BASE_HEAD),
    "vitl": (LARGE, LARGE_HEAD),
    "small": (SMALL, SMALL_HEAD),
    "base": (BASE, BASE_HEAD),
}
RANK = 4  # of all programs, where a configuration does not say
ENDODAV_SCALES = {"lora": 2.0}  # EndoDAV sets alpha = 2 r for LoRA, and r for the others


def load(model: nn.Module, case: Case, family: Family) -> nn.Module:
    """`model` with the weights of the case, in evaluation mode."""
    model.load_state_dict(to_ours(case.weights(), family))
    return model.eval()


def encoder_config(name: str, case: Case, taps: tuple[int, ...] | None = None) -> EncoderConfig:
    """The encoder of that size, with the side of the position table that the weights have."""
    config = SIZES[name][0]
    tables = [shape for key, shape in case.keys()["keys"] if key.endswith("pos_embed")]
    side = math.isqrt(tables[0][1] - 1)
    return replace(config, image_size=side * config.patch_size, taps=taps or config.taps)


def video_depth_anything(case: Case) -> VideoDepthAnything:
    """The network of the case, with its weights."""
    config = case.model_config()
    head = HeadConfig(config["features"], tuple(config["out_channels"]))
    model = VideoDepthAnything(encoder_config(config["encoder"], case), head)
    load(model, case, "video_depth_anything")
    return model


def neck_config(config: Config, kind: Any) -> NeckConfig | None:
    """The necks a configuration asks for."""
    blocks = tuple(config.get("residual_block_indexes", ()))
    return NeckConfig(kind, blocks) if blocks else None


def adapter_config(
    config: Config, scales: Mapping[str, float], temporal: bool = False
) -> AdapterConfig | None:
    """The adapters a configuration asks for; `scales` other than 1 by their kind."""
    kind = config.get("lora_type", "none")
    if kind == "none":
        return None
    scale = scales.get(kind, 1.0)
    return AdapterConfig(kind, rank=config.get("r", RANK), scale=scale, temporal=temporal)


def endodav(config: Config, encoder: EncoderConfig | None = None) -> EndoDAV:
    """EndoDAV by its official configuration, with random weights."""
    output = OutputConfig(
        "conv" if config.get("disable_conv_head", False) else "pyramid",
        sigmoid=config.get("out_sigmoid", False),
        inverted=config.get("inv_sigmoid", False),
    )
    size, head = SIZES[config["encoder"]]
    return EndoDAV(
        encoder or size,
        head,
        tuple(config["image_shape"]),
        output,
        adapter_config(config, ENDODAV_SCALES, temporal=config.get("temporal_lora", False)),
        neck_config(config, "bottleneck"),
    )


def loaded_endodav(case: Case) -> EndoDAV:
    """EndoDAV of the case, with its weights."""
    config = case.model_config()
    encoder = encoder_config(config["encoder"], case)
    encoder = replace(encoder, class_token=config.get("include_cls_token", True))
    model = endodav(config, encoder)
    load(model, case, "endodav")
    return model


def endoscopic_image_network(
    config: Config, network: type[EndoDAC] | type[EndoUFM]
) -> EndoDAC | EndoUFM:
    """EndoDAC or EndoUFM by its official configuration, with random weights."""
    size, head = SIZES[config["backbone_size"]]
    return network(
        replace(size, taps=(8, 9, 10, 11)),
        head,
        tuple(config["image_shape"]),
        OutputConfig("pyramid"),
        # alpha stays 1 in both programs, which scales plain LoRA alone
        adapter_config(config, {"lora": 1.0 / config.get("r", RANK)}),
        neck_config(config, "bottleneck" if network is EndoDAC else "separable"),
    )


# ---------------------------------------------------------------------------------------- runners


@torch.inference_mode()
def dinov2(case: Case) -> Mapping[str, Any]:
    """Item 01."""
    x = torch.from_numpy(case.inputs["x"])
    layers = [int(n.removeprefix("layer")) for n in case.outputs_wanted if n.startswith("layer")]
    model = DinoV2(encoder_config(case.config["model_name"], case, tuple(sorted(layers))))
    load(model, case, "dinov2")
    results: dict[str, Any] = {"pos": model.positions(*model.grid(*x.shape[-2:])).detach()}
    for layer, tokens in zip(sorted(layers), model(x), strict=True):
        results |= {f"layer{layer}": tokens[:, 1:], f"cls{layer}": tokens[:, 0]}
    return results


@torch.inference_mode()
def depth_anything_v2(case: Case) -> Mapping[str, Any]:
    """Item 02."""
    config = case.model_config()
    head = HeadConfig(config["features"], tuple(config["out_channels"]))
    encoder = encoder_config(config["encoder"], case)
    model = DepthAnythingV2(encoder, head, config.get("max_depth"))
    load(model, case, "depth_anything_v2")
    preset = PRESETS["depth-anything-v2-small"]
    run = outside.network_of(model, preset).predict_clip
    if "x" in case.inputs:
        return {"depth": run(torch.from_numpy(case.inputs["x"]))}
    rgb = case.inputs["raw_bgr"][..., ::-1]
    x = network_input(rgb, preset.preprocessing, case.args["input_size"])[None]
    depth = resize(run(x)[:, None], rgb.shape[:2])[0, 0]
    return {"network_input": x, "depth": depth}


@torch.inference_mode()
def video_depth_anything_forward(case: Case) -> Mapping[str, Any]:
    """Item 03."""
    x = torch.from_numpy(case.inputs["x"])
    if "in_channels" in case.config:
        return _motion_module(case, x)
    model = video_depth_anything(case)
    outputs: list[Tensor] = []
    model.motion[1].register_forward_hook(lambda *call: outputs.append(call[-1]))
    depth = model(x)
    return {"depth": depth, "motion_module_1": _time_third(outputs[0], x.shape[1])}


def _motion_module(case: Case, x: Tensor) -> Mapping[str, Any]:
    module = load(MotionModule(case.config["in_channels"]), case, "motion_module")
    y = _time_third(module(x.transpose(1, 2).flatten(0, 1), x.shape[2]), x.shape[2])
    return {"y": y, "delta": y - x}


def _time_third(maps: Tensor, time: int) -> Tensor:
    """[batch * time, channels, rows, columns] to [batch, channels, time, rows, columns]."""
    return maps.unflatten(0, (-1, time)).transpose(1, 2)


@torch.inference_mode()
def endodav_forward(case: Case) -> Mapping[str, Any]:
    """Item 09."""
    return _scales(loaded_endodav(case)(torch.from_numpy(case.inputs["x"])))


@torch.inference_mode()
def endodac(case: Case) -> Mapping[str, Any]:
    """Item 11a."""
    return _image_item(case, EndoDAC, "endodac")


@torch.inference_mode()
def endoufm(case: Case) -> Mapping[str, Any]:
    """Item 11b."""
    return _image_item(case, EndoUFM, "endoufm")


def _image_item(
    case: Case, network: type[EndoDAC] | type[EndoUFM], family: Family
) -> Mapping[str, Any]:
    config = case.config
    if not case.inputs:
        with torch.device("meta"):
            return trainable.image_network(case, endoscopic_image_network(config, network), family)
    x = torch.from_numpy(case.inputs["x"])
    if "bottleneck_channels" in config:
        sizes = config["in_channels"], config["bottleneck_channels"]
        separable = "DSConv" in case.model_spec()["class"]
        block = SeparableBottleneck(*sizes) if separable else Bottleneck(*sizes)
        return {"y": load(block, case, "separable" if separable else "bottleneck")(x)}
    if "reduction" in config:
        attention = ConvAttention(config["channel"], config["reduction"], config["kernel_size"])
        return {"y": load(attention, case, "conv_attention")(x)}
    return _scales(load(endoscopic_image_network(config, network), case, family)(x))


def _scales(disparities: list[Tensor]) -> Mapping[str, Any]:
    return {f"disp{scale}": disparity for scale, disparity in enumerate(disparities)}


def endodav_trainable(case: Case) -> Mapping[str, Any]:
    """Item 09b."""
    with torch.device("meta"):
        return trainable.endodav(case, endodav(case.config))


ITEMS: dict[str, Runner] = {
    "01_dinov2_encoder": dinov2,
    "02_depth_anything_v2": depth_anything_v2,
    "03_vda_forward": video_depth_anything_forward,
    "09_endodav_forward": endodav_forward,
    "09b_endodav_trainable": endodav_trainable,
    "11a_endodac": endodac,
    "11b_endoufm": endoufm,
}
