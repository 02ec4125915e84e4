"""Golden items about evaluation: 08, of Video Depth Anything, and 15, of EndoDAV."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from endodav.evaluation import temporal, trajectory
from endodav.evaluation.alignment import Pair, median_and_deviation, median_ratio, medians
from endodav.evaluation.metrics import DepthSums, depth_compute, depth_update
from endodav.evaluation.protocols import (
    PROTOCOLS,
    AlignedFrame,
    EvalFrame,
    Protocol,
    align,
    score,
)
from endodav.evaluation.spaces import resized
from endodav.geometry.camera import rigid, rotation_from_axis_angle
from endodav.models.pose import PoseDecoder
from endodav.models.resnet import ResNet18
from endodav.types import Kind
from endodav.weights.keymaps import Family, to_ours

if TYPE_CHECKING:
    from tests.golden.case import Case
    from tests.golden.registry import Runner

Array = NDArray[Any]
Results = Mapping[str, Any]

# Official names of our metrics.
VDA_NAMES = {
    "abs_relative_difference": "abs_rel",
    "squared_relative_difference": "sq_rel",
    "rmse_linear": "rmse",
    "rmse_log": "rmse_log",
    "log10": "log10",
    "delta1_acc": "delta1",
    "delta2_acc": "delta2",
    "delta3_acc": "delta3",
    "i_rmse": "i_rmse",
    "silog_rmse": "silog",
}
ENDO_NAMES = {
    "abs_rel": "abs_rel",
    "sq_rel": "sq_rel",
    "rmse": "rmse",
    "rmse_log": "rmse_log",
    "a1": "delta1",
    "a2": "delta2",
    "a3": "delta3",
}
VIDEO_NAMES = {
    "de/abs_rel": "abs_rel",
    "de/sq_rel": "sq_rel",
    "de/rmse": "rmse",
    "de/log_rmse": "rmse_log",
    "da/a1": "delta1",
    "da/a2": "delta2",
    "da/a3": "delta3",
}
VIDEO_PROTOCOLS = {"scale": "video-median", "scale_shift": "endodav"}


def named(errors: Any, names: Mapping[str, str]) -> dict[str, float]:
    """Our errors under official names."""
    values = asdict(errors)
    return {official: values[ours] for official, ours in names.items()}


def clip(prediction: Array, truth: Array) -> list[EvalFrame]:
    """Frames at the size of the truth, valid everywhere as far as the case is concerned."""
    size = truth.shape[1:]
    return [
        EvalFrame(resized(one, *size), true, np.ones(size, bool))
        for one, true in zip(prediction, truth, strict=True)
    ]


def as_one_image(*clips: Array) -> DepthSums:
    """Statistics of depth, truth and validity with all frames stacked below one another."""
    return depth_update(*(values.reshape(-1, values.shape[-1]) for values in clips))


def consistency(
    frames: list[AlignedFrame], motions: Array, intrinsics: Array, convention: str
) -> Iterator[tuple[temporal.View, temporal.View, Array, Array, temporal.Convention]]:
    """Arguments of `temporal_update` for all neighbours."""
    views = [temporal.View(frame.depth, frame.usable) for frame in frames]
    for (first, second), motion in zip(pairwise(views), motions, strict=True):
        yield first, second, motion, intrinsics, temporal.CONVENTIONS[convention]


# ------------------------------------------------------------------------------------- item 08


def vda_frames(case: Case) -> tuple[list[EvalFrame], Protocol]:
    """Cropped truth with the prediction at its size, and the protocol with the case's range."""
    args = case.args
    length = slice(args["max_eval_len"])
    truth = case.inputs["gt"][length, args["a"] : args["b"], args["c"] : args["d"]]
    protocol = replace(PROTOCOLS["vda"], farthest=args["max_depth_eval"])
    return clip(case.inputs["pred"][length], truth), protocol


def vda_benchmark(case: Case) -> Results:
    frames, protocol = vda_frames(case)
    return named(score(frames, Kind.INVERSE_DEPTH, protocol).errors, VDA_NAMES)


def vda_metrics(case: Case) -> Results:
    """Two of the official functions do not average over frames as the others do.

    log10 is a mean over all pixels of the clip; SILog is the root of a mean over frames.
    """
    depth, truth = case.inputs["pred"], case.inputs["gt"]
    each = [depth_update(d, t, t > 0) for d, t in zip(depth, truth, strict=True)]
    pooled = depth_compute(as_one_image(depth, truth, truth > 0))
    variances = [depth_compute(sums).silog ** 2 for sums in each]
    return named(depth_compute(sum(each, DepthSums())), VDA_NAMES) | {
        "log10": pooled.log10,
        "silog_rmse": np.sqrt(np.mean(variances)),
    }


def vda_consistency(case: Case) -> Results:
    frames, protocol = vda_frames(case)
    aligned = list(align(frames, Kind.INVERSE_DEPTH, protocol))
    motions = motions_between(case)
    errors = []
    sums = temporal.TemporalSums()
    for first, second, T, K, convention in consistency(aligned, motions, case.inputs["K"], "vda"):
        sums += temporal.temporal_update(first, second, T, K, convention)
        errors += both_ways(first, second, T, K)
    return {"pair_errors": errors, "tae": temporal.temporal_compute(sums).tae}


def vda_pairs(case: Case) -> Results:
    depth, K = case.inputs["depth"], case.inputs["K"]
    views = [temporal.View(one, np.ones(one.shape, bool)) for one in depth]
    errors = [
        both_ways(*neighbours, T, K)
        for neighbours, T in zip(pairwise(views), motions_between(case), strict=True)
    ]
    forward, backward = zip(*errors, strict=True)
    return {"forward": forward, "backward": backward}


def both_ways(
    first: temporal.View, second: temporal.View, T: Array, K: Array
) -> tuple[float, float]:
    """Errors of `first` moved into `second`, and of `second` into `first`."""
    vda = temporal.CONVENTIONS["vda"]
    forward = temporal.agreement(first, second, T, K, vda)
    backward = temporal.agreement(second, first, np.linalg.inv(T), K, vda)
    assert forward is not None
    assert backward is not None
    return forward.error, backward.error


def motions_between(case: Case) -> Array:
    """Motions between neighbours of a case whose poses are camera-to-world."""
    return trajectory.motions_from_poses(np.linalg.inv(case.inputs["poses"]))


# ------------------------------------------------------------------------------------- item 15


def endo_errors(case: Case) -> Results:
    """All frames as one image, as the official function flattens them."""
    depth = case.inputs["pred"]
    results: dict[str, float] = {}
    for prefix, truth in (("", case.inputs["gt"]), ("full.", case.inputs["gt_full"])):
        errors = named(depth_compute(as_one_image(depth, truth, truth > 0)), ENDO_NAMES)
        results |= {f"{prefix}{name}": value for name, value in errors.items()}
    return results


def endo_alignment(case: Case) -> Results:
    prediction, truth = case.inputs["pred"], case.inputs["gt"]
    usable = (truth > 1e-3) & (truth < 150)
    pairs = [Pair(prediction[usable], truth[usable])]
    scaling, affine = median_ratio(pairs), median_and_deviation(pairs)
    centres = dict(zip(("pred", "gt"), medians(pairs), strict=True))
    spreads = {
        name: np.abs(values - centres[name]).mean()
        for name, values in (("pred", prediction[usable]), ("gt", truth[usable]))
    }
    return {
        "scaled": scaling.scale * prediction,
        "aligned": affine.scale * prediction + affine.shift,
        "ratio": scaling.scale,
        **{f"t_{name}": value for name, value in centres.items()},
        **{f"s_{name}": value for name, value in spreads.items()},
    }


def endo_consistency(case: Case) -> Results:
    truth, K = case.inputs["gt"], case.inputs["K"][:3, :3]
    depth = np.broadcast_to(case.inputs["depth"], truth.shape)
    views = [temporal.View(d, t > 0) for d, t in zip(depth, truth, strict=True)]
    motions = trajectory.motions_from_poses(case.inputs["poses"])
    each = [
        temporal.temporal_update(*neighbours, motion, K, temporal.CONVENTIONS["endodav"])
        for neighbours, motion in zip(pairwise(views), motions, strict=True)
    ]
    errors = [temporal.temporal_compute(sums) for sums in each]
    return {"tae": [e.tae / 100 for e in errors], "tas": [e.tas for e in errors]}


def endo_poses(case: Case) -> Results:
    true, predicted = (
        trajectory.motions_from_poses(case.inputs[name]) for name in ("gt_poses", "pred_poses")
    )
    ate, rotation = trajectory.window_errors(true, predicted).T
    chained = trajectory.chain(predicted)
    # "dump" multiplies on the left: the inverses chained on the right, inverted.
    left_true, left = (
        np.linalg.inv(trajectory.chain(np.linalg.inv(motions))) for motions in (true, predicted)
    )
    return {
        "ate": ate,
        "re": rotation,
        "xyz": chained[:, :3, 3],
        "r": chained[:, :3, :3],
        "dump": left,
        "scale": trajectory.fit_scale(left_true[:, :3, 3], left[:, :3, 3]),
    }


def endo_video(case: Case) -> Results:
    """A sequence from network disparity and pose networks to every number that is reported."""
    args, truth = case.args, case.inputs["gt"]
    low, high = 1 / args["max_depth"], 1 / args["min_depth"]
    depth = 1 / (low + (high - low) * case.inputs["disp"])
    protocol = PROTOCOLS[VIDEO_PROTOCOLS[args["depth_align"]]]
    frames = clip(depth, truth)
    motions = trajectory.motions_from_poses(case.inputs["poses"])
    K = case.inputs["K"][:3, :3]
    sums = temporal.TemporalSums()
    for neighbours in consistency(list(align(frames, Kind.DEPTH, protocol)), motions, K, "endodav"):
        sums += temporal.temporal_update(*neighbours)
    over_time = temporal.temporal_compute(sums)
    ate, rotation = trajectory.window_errors(motions, predicted_motions(case)).T
    return named(score(frames, Kind.DEPTH, protocol).errors, VIDEO_NAMES) | {
        "temp/tae": over_time.tae,
        "temp/tas": over_time.tas,
        "ate": ate,
        "re": rotation,
    }


@torch.inference_mode()
def predicted_motions(case: Case) -> Array:
    """What the pose networks say of neighbours, given to them as (next, current)."""
    images = torch.from_numpy(case.inputs["colors"]).permute(0, 3, 1, 2) / 255
    encoder = loaded(ResNet18(2), case, "pose_encoder", "resnet18_2img")
    decoder = loaded(PoseDecoder(), case, "pose", "pose_decoder")
    motion = decoder(encoder(torch.cat([images[1:], images[:-1]], dim=1))[-1])
    rotation = rotation_from_axis_angle(motion.axis_angle[:, 0])
    return rigid(rotation, motion.translation[:, 0]).numpy()


def loaded(model: nn.Module, case: Case, name: str, family: Family) -> nn.Module:
    """`model` with the seeded weights of the item's model `name`, in evaluation mode."""
    model.load_state_dict(to_ours(case.weights(name), family))
    return model.eval()


def endo_images(case: Case) -> Results:
    """Saved disparities, each image with its own median."""
    frames = clip(case.inputs["pred_disp"], case.inputs["gt"])
    aligned = align(frames, Kind.INVERSE_DEPTH, PROTOCOLS["endodac"])
    each = [depth_update(frame.depth, frame.truth, frame.usable) for frame in aligned]
    rows = [list(named(depth_compute(sums), ENDO_NAMES).values()) for sums in each]
    return named(depth_compute(sum(each, DepthSums())), ENDO_NAMES) | {"per_frame": rows}


# By how the name of the case begins; the first that fits answers.
VDA_CASES: Mapping[str, Callable[[Case], Results]] = {
    "depthcrafter": vda_benchmark,
    "metrics": vda_metrics,
    "tae_pairs": vda_pairs,
    "tae": vda_consistency,
}
ENDO_CASES: Mapping[str, Callable[[Case], Results]] = {
    "compute_errors": endo_errors,
    "alignment": endo_alignment,
    "tae_tas": endo_consistency,
    "pose_metrics": endo_poses,
    "video_eval": endo_video,
    "image_eval": endo_images,
}


def dispatch(cases: Mapping[str, Callable[[Case], Results]]) -> Runner:
    """A runner that answers each case by its name."""
    return lambda case: next(run(case) for name, run in cases.items() if case.id.startswith(name))


ITEMS: dict[str, Runner] = {
    "08_vda_evaluation": dispatch(VDA_CASES),
    "15_endodav_evaluation": dispatch(ENDO_CASES),
}
