"""What a run begins with: a base with new adapters, and companions from ImageNet or at random."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import nn

from endodav.errors import RecipeError, WeightsError
from endodav.models.adapters import adapter_state
from endodav.models.decompose import DecomposeDecoder
from endodav.models.depth import EndoDAC, EndoDAV, EndoUFM, build
from endodav.models.pose import CameraNetwork
from endodav.models.presets import (
    PRESETS,
    AdapterConfig,
    ModelPreset,
    NeckConfig,
    OutputConfig,
    Preprocessing,
)
from endodav.training.adaptation.camera import DirectCamera
from endodav.training.adaptation.networks import (
    DecompositionNetworks,
    DepthNetwork,
    Networks,
    RegistrationNetworks,
)
from endodav.training.adaptation.pretrained import imagenet_file, load_imagenet
from endodav.training.adaptation.recipe import AdaptRecipe
from endodav.weights.hub import load
from endodav.weights.runs import LoadedModel

BASES = ("video_depth_anything", "depth_anything_v2")
PYRAMID_STEP = 16  # pixels of a frame for each patch, so that the pyramid ends at the frame's size
LORA_SCALE = 2.0  # EndoDAV: alpha = 2 r
VIDEO_ONLY, OWN_OUTPUT = "motion.", "head.output."
SPARE = (VIDEO_ONLY, OWN_OUTPUT)  # what a base may have in vain, or an adapted network for itself


class Start(NamedTuple):
    """The networks of a run before its first step.

    Attributes:
        networks: with frozen parameters that still ask for gradients; the schedule chooses.
        preset: of the depth network.
        base: what it adapts; None for AF-SfMLearner's own.
        imagenet: file that the ResNet encoders started from; None if they began at random.
    """

    networks: Networks
    preset: ModelPreset
    base: LoadedModel | None
    imagenet: Path | None


def start(recipe: AdaptRecipe, *, download: bool = True) -> Start:
    """Build the networks of a recipe.

    Args:
        recipe: what to build.
        download: whether ImageNet weights may be asked for.

    Raises:
        RecipeError: the base is none that can be adapted.
        WeightsError: its weights are not to be had, or do not fit.
    """
    torch.manual_seed(recipe.seed)
    base, preset = None, own_preset(recipe)
    if recipe.depth.family != "resnet":
        base, preset = load(recipe.base), adapted_preset(recipe)
    network = build(preset) if base is None else adapted(preset, base)
    depth = cast(DepthNetwork, network)
    networks: Networks
    direct = recipe.camera == "direct"
    scale = (recipe.lessons or recipe).motion_scale
    camera = DirectCamera() if direct else CameraNetwork(scale)
    teacher = None if recipe.lessons is None else DirectCamera(recipe.lessons.finest)
    if isinstance(depth, EndoUFM):
        config = PRESETS[recipe.base]
        decompose = DecomposeDecoder(depth.encoder.widths, config.head, depth.encoder.dense)
        networks = DecompositionNetworks(depth, decompose, camera, teacher)
    else:
        networks = RegistrationNetworks(depth, camera, teacher)
    found = imagenet_file(download)
    if found is not None:
        load_imagenet(networks.encoders(), found)
    return Start(networks, preset, base, found)


def own_preset(recipe: AdaptRecipe) -> ModelPreset:
    """AF-SfMLearner's own network, which has no base, at the size of the recipe's frames."""
    known = PRESETS["af-sfm"]
    return replace(
        known,
        name=recipe.name,
        preprocessing=replace(known.preprocessing, image_shape=recipe.data.size),
        licence="of whoever trained it",
        permissive=True,
        origin=f"{known.origin}, trained on one's own footage",
    )


def adapted_preset(recipe: AdaptRecipe) -> ModelPreset:
    """The architecture of the recipe's depth network, on its base.

    Raises:
        RecipeError: the base is none that can be adapted.
    """
    base, wanted = PRESETS[recipe.base], recipe.depth
    family = wanted.family
    assert family != "resnet", "it has no base"
    if base.family not in BASES or base.max_depth is not None:
        raise RecipeError(
            f"The base '{base.name}' cannot be adapted; choose a Video Depth Anything or Depth"
            " Anything V2 model of inverse depth, or endodav-tiny."
        )
    rows, columns = recipe.data.size
    patch = base.encoder.patch_size if base.encoder.stem is None else PYRAMID_STEP
    shape = wanted.image_shape or (
        rows // PYRAMID_STEP * patch,
        columns // PYRAMID_STEP * patch,
    )
    if any(side % base.encoder.patch_size for side in shape):
        raise RecipeError(
            f"'depth.image_shape' is {list(shape)}; allowed: multiples of"
            f" {base.encoder.patch_size}, the side of the patches of '{base.name}'."
        )
    scale = LORA_SCALE if wanted.adapters == "lora" else 1.0
    video = family == "endodav"
    necks = {"endodac": "bottleneck", "endoufm": "separable"}
    kind = necks.get(family)
    return replace(
        base,
        name=recipe.name,
        family=family,
        preprocessing=Preprocessing("endodav", (0.0,) * 3, (1.0,) * 3, image_shape=shape),
        max_window=base.max_window if video else 1,
        repo_id=None,
        filename=None,
        sha256=None,
        adapters=AdapterConfig(wanted.adapters, wanted.rank, scale, temporal=video),
        neck=NeckConfig(kind, base.encoder.taps) if kind else None,  # type: ignore[arg-type]
        output=OutputConfig("conv" if video else "pyramid"),
        strategy="endodav",
    )


def adapted(preset: ModelPreset, base: LoadedModel) -> nn.Module:
    """The base with new adapters, necks and outputs as the preset says; all else is the base's.

    Raises:
        WeightsError: the base lacks something else, or has it in another shape.
    """
    model = build(preset)
    assert isinstance(model, EndoDAV | EndoDAC | EndoUFM)
    own, given = model.state_dict(), base.model.state_dict()
    added = {id(parameter) for parameter in model.added_parameters()}
    new = {name for name, parameter in model.named_parameters() if id(parameter) in added}
    new |= adapter_state(model).keys()
    shared = {name: value for name, value in given.items() if name in own and name not in new}
    lacking = [name for name in own if name not in shared and name not in new]
    spare = [name for name in given if name not in own]
    odd = [name for name in lacking + spare if not name.startswith(SPARE)]
    odd += [name for name, value in shared.items() if own[name].shape != value.shape]
    if odd:
        raise WeightsError(
            f"The base '{base.preset.name}' does not fit '{preset.name}': {odd[0]} and"
            f" {len(odd) - 1} more tensors differ; choose a base of the same architecture."
        )
    model.load_state_dict(own | shared)
    return model
