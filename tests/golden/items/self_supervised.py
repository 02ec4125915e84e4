"""Golden items about self-supervision: 12, its networks, and 13, its geometry and losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from endodav.geometry import warp
from endodav.geometry.camera import invert, rigid, rotation_from_axis_angle
from endodav.losses import photometric, smoothness
from endodav.models.flow import (
    PyramidDecoder,
    appearance_flow_decoder,
    disparity_decoder,
    optical_flow_decoder,
    upsample,
)
from endodav.models.pose import IntrinsicsHead, PoseDecoder
from endodav.models.resnet import ResNet18
from endodav.weights.keymaps import Family, to_ours

if TYPE_CHECKING:
    from tests.golden.case import Case
    from tests.golden.registry import Runner

DEPTH_RANGE = (0.1, 150.0)
POLE_PIXELS, POLE_FLOW = 3.0, 60.0  # where the fixture clips what a point at z = 0 gives

# The official class: how ours is made, the family of its names, and what its outputs are called.
DECODERS: Mapping[str, tuple[Callable[[], PyramidDecoder], Family, str]] = {
    "PositionDecoder": (optical_flow_decoder, "position_decoder", "position"),
    "TransformDecoder": (appearance_flow_decoder, "transform_decoder", "transform"),
    "DepthDecoder": (disparity_decoder, "disparity_decoder", "disp"),
}


def load(model: nn.Module, case: Case, name: str, family: Family) -> nn.Module:
    """`model` with the seeded weights of the item's model `name`, in evaluation mode."""
    model.load_state_dict(to_ours(case.weights(name), family))
    return model.eval()


def tensor(case: Case, name: str) -> Tensor:
    """An input of the case."""
    return torch.from_numpy(case.inputs[name])


def yx(flow: Tensor) -> Tensor:
    """Our flow in the official order of channels, or the other way round."""
    return flow.flip(1)


# ------------------------------------------------------------------------------------- item 12


@torch.inference_mode()
def networks(case: Case) -> Mapping[str, Any]:
    """Item 12."""
    if case.model is None:
        return rigid_motion(case)
    pair = tensor(case, "pair")
    encoder = load(ResNet18(pair.shape[1] // 3), case, "ResnetEncoder", "resnet18_2img")
    maps = encoder(pair)
    if case.model == "ResnetEncoder":
        return {f"feature{level}": feature for level, feature in enumerate(maps)}
    if case.model == "PoseDecoder":
        return pose(case, maps[-1])
    build, family, output = DECODERS[case.model]
    scales = load(build(), case, case.model, family)(maps)
    if output == "position":
        scales = [yx(flow) for flow in scales]
    return {f"{output}{scale}": value for scale, value in enumerate(scales)}


def pose(case: Case, feature: Tensor) -> Mapping[str, Any]:
    motion = load(PoseDecoder(), case, "PoseDecoder", "pose_decoder")(feature)
    head = load(IntrinsicsHead(), case, "IntrinsicsHead", "intrinsics_head")
    intrinsics = torch.eye(4).repeat(len(feature), 1, 1)
    intrinsics[:, :3, :3] = head(motion.feature, (case.args["height"], case.args["width"]))
    rotation = rotation_from_axis_angle(motion.axis_angle[:, 0])
    return {
        "axisangle": motion.axis_angle.unsqueeze(2),
        "translation": motion.translation.unsqueeze(2),
        "intermediate": motion.feature,
        "T": rigid(rotation, motion.translation[:, 0]),
        "K": intrinsics,
    }


def rigid_motion(case: Case) -> Mapping[str, Any]:
    rotation = rotation_from_axis_angle(tensor(case, "axisangle")[:, 0])
    T = rigid(rotation, tensor(case, "translation")[:, 0])
    return {"matrix": T, "matrix_inverted": invert(T)}


# ------------------------------------------------------------------------------------- item 13


def disparity_to_depth(case: Case) -> Mapping[str, Any]:
    nearest, farthest = DEPTH_RANGE
    scaled = 1 / farthest + (1 / nearest - 1 / farthest) * tensor(case, "disp")
    return {"scaled_disp": scaled, "depth": 1 / scaled}


def projection(case: Case) -> Mapping[str, Any]:
    depth = tensor(case, "depth")[:, 0]
    intrinsics, T = tensor(case, "K")[:, :3, :3], tensor(case, "T")
    points = warp.backproject(depth, intrinsics)
    seen = warp.project(points, intrinsics, T)
    pixels = warp.sampling_grid(seen.pixels, *depth.shape[1:])
    flow = yx(warp.rigid_flow(depth, intrinsics, T))
    homogeneous = torch.cat([points, torch.ones_like(points[..., :1])], dim=-1)
    return {
        "cam": homogeneous.flatten(1, 2).mT,
        "pix": pixels,
        "z": seen.depth.flatten(1).unsqueeze(1),
        "rigid_flow": flow,
        "pix_clipped": pixels.clamp(-POLE_PIXELS, POLE_PIXELS),
        "rigid_flow_clipped": flow.clamp(-POLE_FLOW, POLE_FLOW),
    }


def ssim(case: Case) -> Mapping[str, Any]:
    return {"ssim": photometric.structural_dissimilarity(tensor(case, "x"), tensor(case, "y"))}


def smooth(case: Case) -> Mapping[str, Any]:
    bright = smoothness.appearance_smoothness(
        tensor(case, "transform"),
        tensor(case, "target"),
        tensor(case, "pred"),
        tensor(case, "occ") > 0,
    )
    return {
        "smooth": smoothness.edge_aware_smoothness(tensor(case, "disp"), tensor(case, "img")),
        "smooth_registration": smoothness.total_variation(tensor(case, "flow")),
        "smooth_bright": bright,
    }


def flow_warp(case: Case) -> Mapping[str, Any]:
    source, flow = tensor(case, "src"), yx(tensor(case, "flow"))
    return {
        "border": warp.warp_by_flow(source, flow, "border"),
        "zeros": warp.warp_by_flow(source, flow, "zeros"),
    }


def occlusion(case: Case) -> Mapping[str, Any]:
    forward, backward = (yx(tensor(case, name)) for name in ("flow", "flow2"))
    return {
        "mask": warp.visible_mask(forward).unsqueeze(1),
        "map": warp.splat_coverage(forward).unsqueeze(1),
        "bidirection": yx(warp.forward_backward_error(forward, backward, align_corners=False)),
    }


def correlation(case: Case) -> Mapping[str, Any]:
    return {"ncc": photometric.negative_correlation(tensor(case, "I"), tensor(case, "J"))}


def upsampling(case: Case) -> Mapping[str, Any]:
    return {"y": upsample(tensor(case, "x"))}


def depth_errors(case: Case) -> Mapping[str, Any]:
    """All pixels of the batch pooled, as training logs them; our evaluation is by frame."""
    truth, depth = tensor(case, "gt"), tensor(case, "pred")
    ratio = torch.maximum(truth / depth, depth / truth)
    error = truth - depth
    return {
        "abs_rel": (error.abs() / truth).mean(),
        "sq_rel": (error**2 / truth).mean(),
        "rmse": (error**2).mean().sqrt(),
        "rmse_log": ((truth.log() - depth.log()) ** 2).mean().sqrt(),
        **{f"a{power}": (ratio < 1.25**power).float().mean() for power in (1, 2, 3)},
    }


# By how the case's name begins; the first that fits answers.
CALLS: Mapping[str, Callable[[Case], Mapping[str, Any]]] = {
    "disp_to_depth": disparity_to_depth,
    "project": projection,
    "ssim": ssim,
    "smooth": smooth,
    "warp": flow_warp,
    "occlusion": occlusion,
    "ncc": correlation,
    "upsample": upsampling,
    "depth_errors": depth_errors,
}


def geometry_and_losses(case: Case) -> Mapping[str, Any]:
    """Item 13."""
    return next(answer(case) for name, answer in CALLS.items() if case.id.startswith(name))


ITEMS: dict[str, Runner] = {
    "12_pose_flow_networks": networks,
    "13_geometry_losses": geometry_and_losses,
}
