"""Official names and ours translate both ways, for every key list of the golden fixtures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from endodav.errors import WeightsError
from endodav.models.depth import build
from endodav.models.presets import PRESETS
from endodav.weights.keymaps import FAMILIES, Family, to_official, to_ours

KEYS = sorted((Path(__file__).parents[1] / "golden" / "data" / "keys").glob("*.json"))
PREFIXES: dict[str, Family] = {
    "cbam": "conv_attention",
    "dav2": "depth_anything_v2",
    "depth_decoder_resnet": "disparity_decoder",
    "dinov2": "dinov2",
    "endodac": "endodac",
    "endodav": "endodav",
    "endoufm_adjust_net": "adjust_net",
    "endoufm_decompose_decoder": "decompose_decoder",
    "endoufm_res_dsc": "separable",
    "endoufm_base": "endoufm",
    "endoufm_small": "endoufm",
    "intrinsics_head": "intrinsics_head",
    "pose_decoder": "pose_decoder",
    "position_decoder": "position_decoder",
    "res_bottleneck": "bottleneck",
    "resnet18_2img": "resnet18_2img",
    "temporal_module": "motion_module",
    "transform_decoder": "transform_decoder",
    "vda": "video_depth_anything",
}
# The coarsest lateral unit, ImageNet's classifier, an uncalled squeeze, and second names.
NOTHING = re.compile(r"refinenet4\.resConfUnit1|^encoder\.fc|^convs_suqeeze|^convs\.")


def names_of(path: Path) -> dict[str, torch.Tensor]:
    return {
        name: torch.empty(shape, device="meta")
        for name, shape in json.loads(path.read_text())["keys"]
    }


def family_of(path: Path) -> Family:
    return next(family for prefix, family in PREFIXES.items() if path.stem.startswith(prefix))


@pytest.mark.parametrize("path", KEYS, ids=lambda path: path.stem)
def test_official_names_come_back(path: Path) -> None:
    official, family = names_of(path), family_of(path)
    ours = to_ours(official, family)
    back = to_official(ours, family)
    assert len(back) == len(ours)
    unused = official.keys() - back.keys()
    assert back.keys() <= official.keys()
    assert all(name.endswith(("mask_token", ".pe")) or NOTHING.search(name) for name in unused)
    assert all(back[name].shape == official[name].shape for name in back)


@pytest.mark.parametrize(
    ("keys", "preset"),
    [
        ("dav2_vits", "depth-anything-v2-small"),
        ("dav2_vitb", "depth-anything-v2-base"),
        ("dav2_metric_vits", "depth-anything-v2-metric-indoor-small"),
        ("vda_vits", "video-depth-anything-small"),
        ("vda_vitb", "metric-video-depth-anything-base"),
        ("endodav_vits_ssb_tlora_conv", "endodav-small"),
        ("endodac_small_dvlora_res", "endodac-small"),
        ("endoufm_base_rvlora_res", "endoufm-base"),
    ],
)
def test_official_checkpoints_fit_the_presets(keys: str, preset: str) -> None:
    path = KEYS[0].with_name(f"{keys}.json")
    with torch.device("meta"):
        wanted = build(PRESETS[preset]).state_dict()
    given = to_ours(names_of(path), PRESETS[preset].family)
    assert {k: v.shape for k, v in given.items()} == {k: v.shape for k, v in wanted.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_tables_are_one_to_one(family: Family) -> None:
    table = FAMILIES[family].table
    assert (
        len({official for official, _ in table}) == len({ours for _, ours in table}) == len(table)
    )


def test_unknown_names_stay_for_the_strict_loader_to_name() -> None:
    state = {"pretrained.norm.weight": torch.zeros(1), "optimizer.step": torch.zeros(1)}
    assert to_ours(state, "video_depth_anything").keys() == {
        "encoder.norm.weight",
        "optimizer.step",
    }


def test_names_that_are_not_ours_have_no_official_name() -> None:
    with pytest.raises(WeightsError, match=r"no tensor for optimizer\.step"):
        to_official({"optimizer.step": torch.zeros(1)}, "endodav")


def test_the_two_files_of_an_af_sfm_release_are_one_network() -> None:
    with torch.device("meta"):
        wanted = build(PRESETS["af-sfm"]).state_dict()
    official = to_official(wanted, "af_sfm")
    assert {"encoder.conv1.weight", "decoder.0.conv.conv.weight"} <= official.keys()
    assert to_ours(official, "af_sfm").keys() == wanted.keys()
