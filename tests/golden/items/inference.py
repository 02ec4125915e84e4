"""Golden items about inference: 04, 05, 06 and 10."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from torch import nn

from endodav.inference.alignment import Affine, Moments, least_squares
from endodav.inference.engine import DepthEngine
from endodav.inference.preprocess import network_input, network_size
from endodav.inference.settings import InferenceSettings
from endodav.inference.streaming import StreamingDepth
from endodav.inference.windows import PLANS
from endodav.models.presets import PRESETS, ModelPreset
from endodav.types import Frame
from tests.golden import outside
from tests.golden.case import Case, Runner
from tests.golden.items.networks import loaded_endodav, video_depth_anything

RELATIVE = PRESETS["video-depth-anything-small"]
# The official metric model gives metres.
METRIC = replace(PRESETS["metric-video-depth-anything-small"], to_millimetres=1.0)
ENDODAV = PRESETS["endodav-small"]


def frames(images: np.ndarray[Any, Any], fps: int = 1) -> Iterator[Frame]:
    """One by one, as a source gives them."""
    for index, image in enumerate(images):
        yield Frame(image, Fraction(index, fps), index)


def preprocessing(case: Case) -> Mapping[str, Any]:
    """Item 04."""
    rule = RELATIVE.preprocessing
    if "table" in case.args:
        return {
            "table": [[h, w, s, *network_size(h, w, rule, s)] for h, w, s in case.args["table"]]
        }
    image = case.inputs["frames"][0]
    return {"network_input": network_input(image, rule, case.args["input_size"])}


def long_video(
    case: Case, network: nn.Module, preset: ModelPreset, plan: str, fps: int = 1
) -> dict[str, Any]:
    """Depth, the scale and shift of each window after the first, and the rate of what came out."""
    fits: list[tuple[float, float]] = []

    def recorded(sums: Moments) -> Affine:
        fit = least_squares(sums)
        fits.append((fit.scale, fit.shift))
        return fit

    settings = InferenceSettings("fp32", case.args.get("input_size"))
    runs = outside.network_of(network, preset)
    engine = DepthEngine(runs, preset, PLANS[plan], settings, fit=recorded)
    depth = list(engine.run(frames(case.inputs["frames"], fps)))
    times = [frame.timestamp for frame in depth]
    return {
        "depth": np.stack([frame.values for frame in depth]),
        "scale_shift": np.array(fits),
        "fps": int(1 / (times[1] - times[0])) if len(times) > 1 else fps,
    }


def video_depth_anything_video(case: Case) -> Mapping[str, Any]:
    """Item 05."""
    found = re.search(r"target_fps=(\d+)", case.call)
    preset = METRIC if case.model_config().get("metric") else RELATIVE
    network = video_depth_anything(case)
    return long_video(case, network, preset, "vda", int(found[1]) if found else 1)


def streaming(case: Case) -> Mapping[str, Any]:
    """Item 06: depth, and the frames that each later frame remembers, in order."""
    settings = InferenceSettings("fp32", case.args["input_size"])
    runs = outside.network_of(video_depth_anything(case), RELATIVE)
    stream = StreamingDepth(runs, RELATIVE, settings, detect_cuts=False)
    depth: list[np.ndarray[Any, Any]] = []
    cache_ids: list[list[int]] = []
    frame_of: dict[int, int] = {}
    kept: list[Any] = []  # so that no identity is given away twice
    for frame in frames(case.inputs["frames"]):
        if stream.state is not None:
            cache_ids.append([frame_of[id(entry)] for entry in stream.state.context()])
        depth.append(stream.step(frame).values)
        kept.append(stream.state.entries[-1])
        frame_of[id(kept[-1])] = frame.index
    return {"depth": np.stack(depth), "cache_ids": cache_ids}


def endodav_video(case: Case) -> Mapping[str, Any]:
    """Item 10."""
    shape = tuple(case.model_config()["image_shape"])
    preset = replace(ENDODAV, preprocessing=replace(ENDODAV.preprocessing, image_shape=shape))
    results = long_video(case, loaded_endodav(case), preset, "endodav")
    first = case.inputs["frames"][0]
    return results | {"resize_input": network_input(first, preset.preprocessing)}


ITEMS: dict[str, Runner] = {
    "04_vda_preprocess": preprocessing,
    "05_vda_infer_video": video_depth_anything_video,
    "06_vda_streaming": streaming,
    "10_endodav_infer_video": endodav_video,
}
