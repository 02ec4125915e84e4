"""Golden items about self-supervised training steps: 14, EndoDAV's, and 14b, EndoUFM's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from endodav.geometry.camera import invert, rigid, rotation_from_axis_angle
from endodav.geometry.warp import backproject, project, sampling_grid, splat_coverage
from endodav.losses import smoothness
from endodav.losses.colour import hsv_to_rgb, rgb_to_hsv
from endodav.losses.photometric import absolute_error, masked_mean
from endodav.models.adapters import train_only
from endodav.models.decompose import AdjustNet, DecomposeDecoder
from endodav.models.depth import EndoDAV
from endodav.models.dpt import resize
from endodav.models.pose import Motion
from endodav.models.presets import BASE, BASE_HEAD, SMALL, SMALL_HEAD
from endodav.training.adaptation.batch import NEIGHBOURS, VideoBatch
from endodav.training.adaptation.decomposition import LitScene, decomposition_phase, relight
from endodav.training.adaptation.networks import RegistrationNetworks
from endodav.training.adaptation.recipe import DecompositionLossRecipe, RegistrationLossRecipe
from endodav.training.adaptation.step import (
    Scene,
    depth_errors,
    depth_phase,
    flow_phase,
    observe,
    registration_score,
)
from endodav.training.adaptation.terms import Losses, full_depths
from endodav.weights.keymaps import to_ours
from tests.golden.items.networks import endodav
from tests.golden.items.self_supervised import load, tensor

if TYPE_CHECKING:
    from tests.golden.case import Case, Runner

SCALES = range(4)
SHOWN = 1  # the neighbour whose images are stored

# Our terms and the official names, which add the scale.
TERMS: Mapping[str, str] = {
    "reprojection": "loss/loss_reprojection",
    "appearance": "loss/loss_transform",
    "appearance_smoothness": "loss/loss_cvt",
    "smoothness": "loss/loss_smooth",
    "projection": "loss/loss_depth_reproj",
    "flow_projection": "loss/loss_depth_flow",
}


# ------------------------------------------------------------------------------------- item 14


def training_step(case: Case) -> Mapping[str, Any]:
    """Item 14: the flow phase, then the depth phase, on the same batch."""
    networks, batch, weights = load_networks(case), video_batch(case), loss_recipe(case)
    in_turn = case.args["mode"] == "official"
    if in_turn:
        networks.train_flow()
    flow_losses = flow_phase(networks, batch, weights)
    flow_losses.total.backward()
    if in_turn:
        networks.train_depth()
    temporal = tune(cast(EndoDAV, networks.depth), case)
    motions: list[Motion] = []
    noted = networks.camera.register_forward_hook(lambda *call: motions.append(call[-1]))
    scene = observe(networks, batch)
    noted.remove()
    losses = depth_phase(scene, batch, weights, temporal=temporal)
    losses.total.backward()
    networks.eval()
    return {
        **images(networks, batch, scene),
        **predicted(dict(zip(NEIGHBOURS, motions, strict=True))),
        **scalars("step0.loss", flow_losses),
        **scalars("loss", losses),
        **named_terms(losses),
        **gradient_norms(networks, case),
        **errors_of_depth(scene, batch, weights),
        **validation(networks, batch),
        "n_depth_params_with_grad": sum(
            p.grad is not None and p.requires_grad for p in networks.depth.parameters()
        ),
    }


def load_networks(case: Case) -> RegistrationNetworks:
    depth = endodav(case.model_config())
    depth.load_state_dict(to_ours(case.weights(), "endodav"))
    networks = RegistrationNetworks(depth)
    load(networks.flow.encoder, case, "position_encoder", "resnet18_2img")
    load(networks.flow.decoder, case, "position", "position_decoder")
    load(networks.appearance.encoder, case, "transform_encoder", "resnet18_2img")
    load(networks.appearance.decoder, case, "transform", "transform_decoder")
    load(networks.camera.encoder, case, "pose_encoder", "resnet18_2img")
    load(networks.camera.decoder, case, "pose", "pose_decoder")
    load(networks.camera.intrinsics, case, "intrinsics_head", "intrinsics_head")
    return networks.eval()


def video_batch(case: Case) -> VideoBatch:
    """The clips that the fixture hands over as three stacks of frames."""
    length = case.args["T"]

    def clips(name: str) -> Tensor:
        before, centre, after = (
            tensor(case, f"{name}_{offset}_0").unflatten(0, (-1, length)) for offset in (-1, 0, 1)
        )
        return torch.cat([before[:, :1], centre, after[:, -1:]], dim=1)

    frames = clips("color")
    known = None if case.args["options"]["learn_intrinsics"] else tensor(case, "K_0")
    return VideoBatch(
        frames,
        clips("color_aug"),
        torch.ones_like(frames[:, :, :1], dtype=torch.bool),
        intrinsics=None if known is None else known[::length, :3, :3],
    )


def loss_recipe(case: Case) -> RegistrationLossRecipe:
    options = case.args["options"]
    return RegistrationLossRecipe(
        ssim_share=0.0 if options["no_ssim"] else 0.85,
        flow_smoothness=options["position_smoothness"],
        appearance=options["transform_constraint"],
        appearance_smoothness=options["transform_smoothness"],
        disparity_smoothness=options["disparity_smoothness"],
        projection=options["depth_reproj"],
        flow_projection=options["depth_flow"],
        as_released=True,
    )


def tune(depth: EndoDAV, case: Case) -> bool:
    """Let train what the official schedule lets train; whether the step is a temporal one."""
    options, step = case.args["options"], case.args["step"]
    spatial_steps = options["tune_spatial_interval"]
    temporal = step % (spatial_steps + options["tune_temporal_interval"]) >= spatial_steps
    warm_up = step < options["warm_up_step"]
    chosen = depth.temporal_parameters(warm_up) if temporal else depth.spatial_parameters(warm_up)
    if options["train_output_conv"]:
        chosen = [*chosen, *depth.output_parameters()]
    train_only(depth, chosen)
    return temporal


def images(networks: RegistrationNetworks, batch: VideoBatch, scene: Scene) -> dict[str, Any]:
    view = scene.views[SHOWN]
    seen = project(
        backproject(scene.depths[0], scene.intrinsics),
        scene.intrinsics,
        view.T_neighbour_from_target,
    )
    with torch.no_grad():
        reverse = resize(networks.flow(batch.seen(), batch.seen(SHOWN))[0], batch.size)
    intrinsics = torch.eye(4).repeat(len(scene.intrinsics), 1, 1)
    intrinsics[:, :3, :3] = scene.intrinsics.detach()
    found = {
        "K": intrinsics,
        "disp0": scene.disparities[0],
        "depth0": scene.depths[0].unsqueeze(1),
        "sample": sampling_grid(seen.pixels, *batch.size),
        "warped": scene.warped[SHOWN],
        "registration": view.registration.registered[0],
        "refined": view.refinement.refined[0],
        "occu_map": splat_coverage(reverse).unsqueeze(1),
    }
    return {name: value.detach() for name, value in found.items()}


def predicted(motions: Mapping[int, Motion]) -> dict[str, Any]:
    """What the camera network answered for each neighbour."""
    found = {}
    for offset, motion in motions.items():
        found[f"axisangle.{offset}"] = motion.axis_angle.unsqueeze(2).detach()
        found[f"translation.{offset}"] = motion.translation.unsqueeze(2).detach()
    return found


def scalars(name: str, losses: Losses) -> dict[str, Any]:
    """The sum over terms at each scale, and the total."""
    by_scale = {
        f"{name}/{scale}": sum(
            value.item() for term, value in losses.parts.items() if term.endswith(f"/{scale}")
        )
        for scale in SCALES
    }
    return by_scale | {name: losses.total.item()}


def named_terms(losses: Losses) -> dict[str, Any]:
    """Terms that the step left out have weight 0 in the official program."""
    zero = torch.zeros(())
    return {
        f"{official}/{scale}": losses.parts.get(f"{ours}/{scale}", zero).item()
        for ours, official in TERMS.items()
        for scale in SCALES
    }


def gradient_norms(networks: RegistrationNetworks, case: Case) -> dict[str, Any]:
    parts: dict[str, nn.Module] = {
        "position_encoder": networks.flow.encoder,
        "position": networks.flow.decoder,
        "transform_encoder": networks.appearance.encoder,
        "transform": networks.appearance.decoder,
        "pose_encoder": networks.camera.encoder,
        "pose": networks.camera.decoder,
        "intrinsics_head": networks.camera.intrinsics,
        "depth_model": networks.depth,
    }
    return {
        f"grad_norm.{name}": _norm(p.grad for p in part.parameters())
        for name, part in parts.items()
    }


def errors_of_depth(
    scene: Scene, batch: VideoBatch, weights: RegistrationLossRecipe
) -> dict[str, Any]:
    results = {}
    for scale in SCALES:
        for offset in NEIGHBOURS:
            by_motion, by_flow = depth_errors(
                scene, batch.clip_length, offset, scale, as_released=weights.as_released
            )
            results[f"reproj_depth_error.{scale}.{offset}"] = by_motion.mean().item()
            results[f"flow_depth_error.{scale}.{offset}"] = by_flow.mean().item()
    return results


def validation(networks: RegistrationNetworks, batch: VideoBatch) -> dict[str, Any]:
    """What the official program descends is minus our score, but for its total."""
    scores = [score.item() for score in registration_score(networks, batch)]
    by_scale = {f"val.loss/{scale}": -score for scale, score in enumerate(scores)}
    return by_scale | {"val.loss": sum(scores) / len(scores)}


def _norm(gradients: Iterable[Tensor | None]) -> float:
    found = [gradient.norm() for gradient in gradients if gradient is not None]
    return torch.stack(found).norm().item() if found else 0.0


# ------------------------------------------------------------------------------------ item 14b


@torch.inference_mode()
def decomposition(case: Case) -> Mapping[str, Any]:
    """Item 14b."""
    return DECOMPOSITION_CALLS[case.id](case)


def masked_smoothness(case: Case) -> Mapping[str, Any]:
    field, image, regions = (tensor(case, name) for name in ("disp", "img", "seg"))
    field = smoothness.mean_normalised(field)
    few = torch.where(regions == 2, 1, regions)
    few[0, 0, :6] = 2
    return {
        "plain": smoothness.edge_aware_smoothness(field, image),
        "masked": smoothness.region_smoothness(field, image, regions),
        "masked_tiny_class": smoothness.region_smoothness(field, image, few),
    }


def light_losses(case: Case) -> Mapping[str, Any]:
    one, other, mask = tensor(case, "a"), tensor(case, "b"), tensor(case, "mask") > 0
    change, target, registered = (tensor(case, name) for name in ("transform", "target", "pred"))
    return {
        "smooth_light": smoothness.step_difference(one, other, mask),
        "mc": smoothness.mutual_consistency(one, other),
        "smooth_bright": smoothness.appearance_smoothness(change, target, registered, mask),
    }


def hsv(case: Case) -> Mapping[str, Any]:
    found = rgb_to_hsv(tensor(case, "img"))
    return {"hsv": found, "rgb": hsv_to_rgb(found)}


def decompose_small(case: Case) -> Mapping[str, Any]:
    decoder = DecomposeDecoder((SMALL.width,) * 4, SMALL_HEAD)
    load(decoder, case, "decoder_small", "decompose_decoder")
    tokens = [tensor(case, f"feature{tap}") for tap in range(4)]
    factors = decoder(tokens, (case.args["ph"], case.args["pw"]), tensor(case, "image"))
    return {"albedo": factors.reflectance, "light": factors.light}


def adjust(case: Case) -> Mapping[str, Any]:
    return {"y": load(AdjustNet(), case, "adjust_net", "adjust_net")(tensor(case, "x"))}


def lit_step(case: Case) -> Mapping[str, Any]:
    batch, scene = lit_batch(case), lit_scene(case)
    network = AdjustNet()
    load(network, case, "adjust_net", "adjust_net")
    losses = decomposition_phase(network, scene, batch, DecompositionLossRecipe())
    relit = {offset: relight(network, scene, batch, offset, 0) for offset in NEIGHBOURS}
    coarse = relight(network, scene, batch, -1, 2)
    light = sum(
        masked_mean(absolute_error(each.light, scene.factors[0].light), each.visible)
        for each in relit.values()
    )
    disparity = smoothness.mean_normalised(scene.disparities[0])
    # Ours are weighted means over two neighbours, or three frames; the official log has plain sums.
    return {
        "reflectance_0_0": scene.factors[0].reflectance,
        "light_0_-1": scene.factors[-1].light,
        "reflectance_warp_0_1": relit[1].reflectance,
        "light_adjust_warp_0_1": relit[1].adjusted_light,
        "valid_mask_0_1": relit[1].visible.float(),
        "reprojection_color_warp_2_-1": coarse.image,
        "transform_0_-1": relit[-1].adjustment,
        "loss/loss_reflec": 2 * losses.parts["reflectance/0"] / 0.2,
        "loss/loss_reprojection": 2 * losses.parts["reprojection/0"],
        "loss/loss_disp_smooth": smoothness.edge_aware_smoothness(disparity, batch.seen()),
        "loss/loss_reconstruction": 3 * losses.parts["reconstruction"] / (0.2 * len(SCALES)),
        "loss/loss_light": light,
        "loss": losses.total,
    }


def lit_batch(case: Case) -> VideoBatch:
    frames = torch.stack([tensor(case, f"color_aug_{offset}_0") for offset in (-1, 0, 1)], dim=1)
    everywhere = torch.ones_like(frames[:, :, :1], dtype=torch.bool)
    return VideoBatch(frames, frames, everywhere, tensor(case, "seg_mask").unsqueeze(1))


def lit_scene(case: Case) -> LitScene:
    decoder = DecomposeDecoder((BASE.width,) * 4, BASE_HEAD)
    load(decoder, case, "decoder_base", "decompose_decoder")
    grid = case.args["ph"], case.args["pw"]
    factors = {
        offset: decoder(
            [tensor(case, f"feature_{offset}_{tap}") for tap in range(4)],
            grid,
            tensor(case, f"color_aug_{offset}_0"),
        )
        for offset in (0, *NEIGHBOURS)
    }
    motions = {
        offset: rigid(
            rotation_from_axis_angle(tensor(case, f"axisangle_{offset}")[:, 0]),
            tensor(case, f"translation_{offset}")[:, 0],
        )
        for offset in NEIGHBOURS
    }
    motions[-1] = invert(motions[-1])
    disparities = [tensor(case, f"disp_{scale}") for scale in SCALES]
    size = case.args["h"], case.args["w"]
    return LitScene(
        disparities,
        full_depths(disparities, size),
        tensor(case, "K")[:, :3, :3],
        motions,
        factors,
    )


DECOMPOSITION_CALLS: Mapping[str, Runner] = {
    "masked_smoothness": masked_smoothness,
    "light_losses": light_losses,
    "hsv": hsv,
    "decompose_small": decompose_small,
    "adjust": adjust,
    "training_step": lit_step,
}

ITEMS: dict[str, Runner] = {
    "14_endodav_training_losses": training_step,
    "14b_endoufm_losses": decomposition,
}
