"""ImageNet weights for the ResNet encoders, where they can be had."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from torch import Tensor

from endodav.errors import WeightsError
from endodav.models.resnet import ResNet18
from endodav.weights.checkpoint import load_strict, read_checkpoint
from endodav.weights.keymaps import to_ours

TORCHVISION_FILE = "resnet18-f37072fd.pth"  # ResNet18_Weights.IMAGENET1K_V1; torch.hub keeps it
HUB_REPOSITORY, HUB_FILE = "timm/resnet18.tv_in1k", "model.safetensors"  # the same weights
PREFIX = "encoder."  # official programs hold torchvision's network under this name


def imagenet_file(download: bool = True) -> Path | None:
    """The checkpoint in torchvision's or the hub's cache, or downloaded; None if not to be had.

    Args:
        download: whether the hub may be asked; a warning tells if that was in vain.
    """
    kept = Path(torch.hub.get_dir()) / "checkpoints" / TORCHVISION_FILE
    if kept.is_file():
        return kept
    cached = try_to_load_from_cache(HUB_REPOSITORY, HUB_FILE)
    if isinstance(cached, str):
        return Path(cached)
    if not download:
        return None
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.ERROR)  # it would tell of each of its attempts
    try:
        return Path(hf_hub_download(HUB_REPOSITORY, HUB_FILE))
    except Exception:  # no network, no hub, no file
        warnings.warn(
            "ImageNet weights cannot be had, so ResNet encoders begin at random and need more"
            f" steps; with a network, or {kept} in place, they begin from there.",
            stacklevel=2,
        )
        return None
    finally:
        hub.setLevel(level)


def load_imagenet(encoders: Sequence[ResNet18], path: Path) -> None:
    """Let encoders start from torchvision's ResNet-18, whatever number of images they see.

    The first convolution is repeated for each image and divided by their number, so that the same
    image given twice is seen as torchvision's network sees it once (Monodepth2, ICCV 2019).

    Raises:
        WeightsError: the file is no ResNet-18.
    """
    given = read_checkpoint(path).tensors
    state = to_ours({PREFIX + name: value for name, value in given.items()}, "resnet18_2img")
    if "stem.weight" not in state:
        raise WeightsError(f"{path} is no ResNet-18 of torchvision; delete it and try again.")
    for encoder in encoders:
        counts = {
            name: value
            for name, value in encoder.state_dict().items()
            if name.endswith("num_batches_tracked") and name not in state
        }
        stem = _repeated(state["stem.weight"], encoder.stem.in_channels // 3)
        load_strict(encoder, [state | counts | {"stem.weight": stem}], path, "a ResNet-18")


def _repeated(weight: Tensor, images: int) -> Tensor:
    return weight.repeat(1, images, 1, 1) / images
