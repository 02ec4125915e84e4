"""A network made ready to leave PyTorch: adapters merged, a few operators replaced by others.

`torch.nn.functional.interpolate` takes the scale factors of the position table as Python numbers,
which a traced graph keeps for ever. Resampling is linear, so two matrices do the same, and they are
computed from the grid inside the graph.

OpenVINO's fused attention mixes up axes of equal length on CPUs with AMX (2026.4): in bf16 a clip
of as many frames as heads is 6 % off, in INT8 one of as many frames as channels of a head 37 %.
With pixels and heads as one axis, and the softmax written out, there is nothing to mix up, and it
takes no longer.

A streamed frame's attention has two products a head before its softmax and two behind it. Joined to
one, which a runtime computes once and for all, they are more arithmetic and less moving of memory:
slower in PyTorch on a CPU, twice as fast on one with AMX outside it.
"""

from __future__ import annotations

import math
from copy import deepcopy
from types import MethodType

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from endodav.models.adapters import merge
from endodav.models.attention import Heads
from endodav.models.dinov2 import SCALE_OFFSET, DinoV2
from endodav.models.temporal import HEADS, TemporalAttention

CUBIC = -0.75  # a of the cubic convolution kernel in PyTorch and OpenCV (Keys 1981)
REACH = 2  # samples to each side that the kernel sees


def portable(network: nn.Module) -> nn.Module:
    """A copy for tracing, on the CPU in float32, that computes the same; see the module."""
    copy = deepcopy(network).cpu().float().eval().requires_grad_(False)
    merge(copy)
    for module in copy.modules():
        if isinstance(module, DinoV2):
            module.positions = MethodType(traced_positions, module)  # type: ignore[method-assign]
        if isinstance(module, TemporalAttention):
            module.attend = traced_attend
            module.ask = MethodType(joined_ask, module)  # type: ignore[method-assign]
            module.give = MethodType(joined_give, module)  # type: ignore[method-assign]
    return copy


def traced_attend(query: Heads, key: Heads, value: Heads) -> Heads:
    """What `TemporalAttention.attend` gives, with pixels and heads as one axis."""
    q, k, v = (x.flatten(0, 1) for x in (query, key, value))
    mixed: Tensor = torch.softmax(q.shape[-1] ** -0.5 * q @ k.transpose(1, 2), dim=-1) @ v
    return mixed.view(-1, HEADS, *mixed.shape[1:])


def joined_ask(
    attention: TemporalAttention, x: Float[Tensor, "pixels channels"]
) -> Float[Tensor, "pixels heads channels"]:
    """What `TemporalAttention.ask` gives, by one matrix: W_k^T W_q of all heads."""
    by_head = HEADS, -1, x.shape[1]
    query, key = (layer.weight.view(by_head) for layer in (attention.query, attention.key))
    joined = key.transpose(1, 2) @ query / math.sqrt(key.shape[1])
    return F.linear(x, joined.flatten(0, 1)).view(-1, HEADS, x.shape[1])


def joined_give(
    attention: TemporalAttention, taken: Float[Tensor, "pixels heads channels"]
) -> Float[Tensor, "pixels channels"]:
    """What `TemporalAttention.give` gives, by one matrix: W_o W_v of all heads."""
    value = attention.value.weight.view(HEADS, -1, taken.shape[2])
    out = attention.out.weight.view(-1, HEADS, value.shape[1]).transpose(0, 1)
    return F.linear(taken.flatten(1), (out @ value).transpose(0, 1).flatten(1), attention.out.bias)


def traced_positions(
    encoder: DinoV2, rows: int, columns: int
) -> Float[Tensor, "1 tokens channels"]:
    """What `DinoV2.positions` gives, with rows and columns that may be symbols of a trace."""
    side = encoder.table_side
    table = encoder.position_table
    class_position, patches = table[:, :1], table[0, 1:]
    own_size = (torch.scalar_tensor(rows) == side) & (torch.scalar_tensor(columns) == side)
    offset = torch.where(own_size, 0.0, SCALE_OFFSET)
    by_row = resampling(rows, side, offset) @ patches.reshape(side, -1)
    by_row = by_row.reshape(-1, side, patches.shape[1])
    resized = resampling(columns, side, offset) @ by_row
    return torch.cat([class_position, resized.flatten(0, 1)[None]], dim=1)


def resampling(length: int, side: int, offset: Float[Tensor, ""]) -> Float[Tensor, "length side"]:
    """The matrix of bicubic resampling from `side` samples by (length + offset) / side.

    Pixel centres are at halves, and the outermost sample repeats beyond the border.
    """
    centre = (torch.arange(length) + 0.5) * (side / (length + offset)) - 0.5
    distance = (centre[:, None] - torch.arange(-REACH, side + REACH)).abs()
    near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance**2 + 1
    far = ((CUBIC * distance - 5 * CUBIC) * distance + 8 * CUBIC) * distance - 4 * CUBIC
    weight = torch.where(distance <= 1, near, torch.where(distance < REACH, far, 0.0))
    first, last = weight[:, : REACH + 1], weight[:, -REACH - 1 :]
    inner = weight[:, REACH + 1 : -REACH - 1]
    return torch.cat([first.sum(1, keepdim=True), inner, last.sum(1, keepdim=True)], dim=1)
