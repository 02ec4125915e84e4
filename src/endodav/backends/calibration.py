"""What the parts of a network see when clips go through it: the examples that INT8 is fitted to.

The parts of a stream keep their precision: `next` spends its time on reading what 31 frames left,
which INT8 does not shorten, and its errors would be remembered.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from endodav.backends.graphs import DECODER, ENCODER, WINDOW, Window
from endodav.backends.runtime import Array
from endodav.models.presets import TEMPORAL_WINDOW

Clip = Float[Tensor, "time 3 rows columns"]
Inputs = dict[str, list[tuple[Array, ...]]]  # by part, one tuple an example


@torch.no_grad()
def part_inputs(network: nn.Module, clips: Iterable[Clip]) -> Inputs:
    """The inputs of each part for these clips of at most 32 frames, computed in float32."""
    reference = cast(Any, network)
    found: Inputs = {}
    for clip in clips:
        images = [frame[None] for frame in clip]
        maps = [reference.encode(image) for image in images]
        _add(found, ENCODER, ([image] for image in images))
        if getattr(network, "motion", None) is None:
            _add(found, DECODER, maps)
        else:
            _add_video_parts(found, reference, maps)
    return found


def _add_video_parts(found: Inputs, network: Any, maps: list[list[Tensor]]) -> None:
    coarse = [torch.cat([frame[level] for frame in maps]) for level in (2, 3)]
    _add(found, WINDOW, [[_filled(level) for level in coarse]])
    path_2, path_3 = Window(network)(*coarse)
    by_frame = zip(path_2.split(1), path_3.split(1), maps, strict=True)
    _add(found, DECODER, ([m[0], m[1], two, three] for two, three, m in by_frame))


def _filled(level: Tensor) -> Tensor:
    """A clip that is as long as a window."""
    missing = TEMPORAL_WINDOW - len(level)
    return torch.cat([level, level[-1:].expand(missing, -1, -1, -1)])


def _add(found: Inputs, part: str, examples: Iterable[Iterable[Tensor]]) -> None:
    arrays = (tuple(x.contiguous().numpy() for x in example) for example in examples)
    found.setdefault(part, []).extend(arrays)
