"""Video Depth Anything's temporal attention: motion modules, and their memory for streaming.

Each of four places of the DPT head gets a motion module. It lets every pixel attend over time to
itself, and nothing else, so it works at any resolution; its output projection starts at zero, which
makes a new video model equal to its image model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from endodav.errors import InputError
from endodav.models.attention import attend
from endodav.models.presets import TEMPORAL_WINDOW, HeadConfig

HEADS = 8
ATTENTIONS = 2  # of each motion module
GROUPS = 32
GROUP_EPS = 1e-6
FEED_FORWARD_RATIO = 4
WAVELENGTH = 10_000.0  # Vaswani et al. 2017, sec. 3.5

OLD_ENTRIES = 2  # of what a streamed frame attends to; the rest are the newest
RECENT_ENTRIES = TEMPORAL_WINDOW - 1 - OLD_ENTRIES
STATE_LENGTH = 42  # frames a stream remembers: the first, and the 41 before the current one


Context = Float[Tensor, "pixels earlier channels"]
"""What earlier frames left for one temporal attention."""

FrameEntry = tuple[Tensor, ...]
"""What one frame leaves behind: the normed input [pixels, channels] of every temporal attention."""


@dataclass(frozen=True)
class TemporalState:
    """The memory of a stream; a step makes a new one and leaves this one as it is.

    Attributes:
        entries: of `STATE_LENGTH` frames, oldest first. Before that many have come, the first frame
            stands in for those missing. The very first entry stays for ever.
    """

    entries: tuple[FrameEntry, ...]

    @classmethod
    def start(cls, first: FrameEntry) -> TemporalState:
        """The memory behind the first frame."""
        return cls((first,) * STATE_LENGTH)

    def then(self, newest: FrameEntry) -> TemporalState:
        """The memory one frame later: the oldest but the very first makes room."""
        return TemporalState((self.entries[0], *self.entries[2:], newest))

    @classmethod
    def after(cls, state: TemporalState | None, newest: FrameEntry) -> TemporalState:
        """The memory behind a frame; `state` is the one before it, None before the first."""
        return cls.start(newest) if state is None else state.then(newest)

    def context(self) -> tuple[FrameEntry, ...]:
        """The 31 entries that the next frame attends to, in the order of their positions."""
        return (*self.entries[:OLD_ENTRIES], *self.entries[-RECENT_ENTRIES:])

    def contexts(self) -> Iterator[Tensor]:
        """What `context` gives, joined to one tensor for each attention, when it is its turn."""
        for entries in zip(*self.context(), strict=True):
            yield torch.stack(entries, dim=-2)


def position_code(length: int, channels: int) -> Float[Tensor, "length channels"]:
    """The sinusoidal code of Vaswani et al. (2017): sine in even channels, cosine in odd ones."""
    rate = torch.exp(torch.arange(0, channels, 2) * (-math.log(WAVELENGTH) / channels))
    angle = torch.arange(length)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


class TemporalAttention(nn.Module):
    """Attention over time at each pixel, behind a LayerNorm.

    The position code is added to the normed input of query, key and value alike.
    """

    position: Tensor
    attend = staticmethod(attend)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels, bias=False)
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels, bias=False)
        self.out = nn.Linear(channels, channels)
        code = position_code(TEMPORAL_WINDOW, channels)
        self.register_buffer("position", code, persistent=False)

    def forward(
        self, x: Float[Tensor, "pixels time channels"]
    ) -> Float[Tensor, "pixels time channels"]:
        """What the frames of a clip take from each other."""
        placed = self.norm(x) + self.position[: x.shape[1]]
        if x.shape[1] == 1:  # all that a single frame can attend to is itself
            alone: Tensor = self.out(self.value(placed))
            return alone
        query, key, value = (
            project(placed).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        out: Tensor = self.out(self.attend(query, key, value).transpose(1, 2).flatten(2))
        return out

    def step(
        self,
        x: Float[Tensor, "pixels 1 channels"],
        context: Context | None,
        order: Int[Tensor, " earlier"] | None = None,
    ) -> tuple[Float[Tensor, "pixels 1 channels"], Float[Tensor, "pixels channels"]]:
        """What one frame takes from those before it, and what it leaves behind.

        Args:
            x: the frame.
            context: what earlier frames left; None for the first.
            order: their places in time, from 0; None if they follow each other.
        """
        own = self.norm(x)[:, 0]
        if context is None:
            alone: Tensor = self.out(self.value(own + self.position[0]))
            return alone[:, None], own
        return self._newest(own, context, order)[:, None], own

    def _newest(
        self,
        own: Float[Tensor, "pixels channels"],
        context: Context,
        order: Int[Tensor, " earlier"] | None,
    ) -> Float[Tensor, "pixels channels"]:
        """What the newest frame takes from all; the context is only read."""
        earlier = context.shape[1]
        places = self.position[:earlier] if order is None else self.position[order]
        placed = own + self.position[earlier]
        asked = self.ask(placed)
        scores = [asked @ context.transpose(1, 2) + asked @ places.T, asked @ placed[..., None]]
        shares = torch.cat(scores, dim=-1).softmax(dim=-1)
        of_others, of_itself = shares[..., :earlier], shares[..., earlier:]
        taken = of_others @ context + of_others @ places + of_itself * placed[:, None]
        return self.give(taken)

    def ask(self, x: Float[Tensor, "pixels channels"]) -> Float[Tensor, "pixels heads channels"]:
        """What each head multiplies all y with, to score them for the query of x.

        (W_q x) . (W_k y) is (W_k^T W_q x) . y: for one query, no key is ever computed.
        """
        query = self.query(x).unflatten(-1, (HEADS, -1))
        key = self.key.weight.view(HEADS, -1, x.shape[1])
        return torch.einsum("phd,hdc->phc", query, key) / math.sqrt(key.shape[1])

    def give(
        self, taken: Float[Tensor, "pixels heads channels"]
    ) -> Float[Tensor, "pixels channels"]:
        """What comes out of each head's weighted sum of all y.

        The sum of all W_v y is W_v of the sum: no value is ever computed.
        """
        value = self.value.weight.view(HEADS, -1, taken.shape[2])
        out: Tensor = self.out(torch.einsum("phc,hdc->phd", taken, value).flatten(1))
        return out


class GatedFeedForward(nn.Module):
    """GEGLU (Shazeer 2020) behind a LayerNorm; `contract` may carry an adapter."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = FEED_FORWARD_RATIO * channels
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, 2 * inner)
        self.contract: nn.Module = nn.Linear(inner, channels)

    def forward(
        self, x: Float[Tensor, "pixels time channels"]
    ) -> Float[Tensor, "pixels time channels"]:
        """Transform every pixel and frame by itself."""
        value, gate = self.expand(self.norm(x)).chunk(2, dim=-1)
        out: Tensor = self.contract(value * F.gelu(gate))
        return out


class MotionModule(nn.Module):
    """GroupNorm, linear in, two temporal attentions, feed-forward, linear out; added to the input.

    Args:
        channels: of the map; a multiple of 32.

    Attributes:
        pixels_at_once: of a clip that are mixed together, None for all; pixels do not see each
            other, so that only speed and memory depend on it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pixels_at_once: int | None = None
        self.norm = nn.GroupNorm(GROUPS, channels, GROUP_EPS)
        self.project_in = nn.Linear(channels, channels)
        self.attentions = nn.ModuleList(TemporalAttention(channels) for _ in range(ATTENTIONS))
        self.feed_forward = GatedFeedForward(channels)
        self.project_out = nn.Linear(channels, channels)
        nn.init.zeros_(self.project_out.weight)
        nn.init.zeros_(self.project_out.bias)

    def forward(
        self, maps: Float[Tensor, "frames channels rows columns"], time: int
    ) -> Float[Tensor, "frames channels rows columns"]:
        """Mix the frames of each clip.

        Args:
            maps: of the frames of all clips, clip by clip.
            time: frames of a clip.
        """

        def change(x: Tensor) -> Tensor:
            return self._change(x, lambda attention, part: attention(part))

        def in_parts(x: Tensor) -> Tensor:
            if self.pixels_at_once is None:
                return change(x)
            return torch.cat([change(part) for part in torch.split(x, self.pixels_at_once)])

        return self._apply_to(maps, time, in_parts)

    def step(
        self,
        maps: Float[Tensor, "streams channels rows columns"],
        contexts: Iterator[Tensor],
        order: Int[Tensor, " earlier"] | None = None,
    ) -> tuple[Float[Tensor, "streams channels rows columns"], FrameEntry]:
        """One frame of each stream, given what earlier frames left for each attention, if any."""
        left: list[Tensor] = []

        def attend(attention: nn.Module, x: Tensor) -> Tensor:
            assert isinstance(attention, TemporalAttention)
            mixed, entry = attention.step(x, next(contexts, None), order)
            left.append(entry)
            return mixed

        mixed = self._apply_to(maps, 1, lambda x: self._change(x, attend))
        return mixed, tuple(left)

    def _change(
        self, normed: Tensor, attend: Callable[[nn.Module, Tensor], Tensor]
    ) -> Float[Tensor, "pixels time channels"]:
        x = self.project_in(normed)
        for attention in self.attentions:
            x = x + attend(attention, x)
        out: Tensor = self.project_out(x + self.feed_forward(x))
        return out

    def _apply_to(self, maps: Tensor, time: int, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Add to the maps what `change` makes of them, normed, as [pixels, time, channels]."""
        frames, channels, rows, columns = maps.shape
        # With channels last, PyTorch's GroupNorm loses a digit and a half.
        normed = self.norm(maps.contiguous()).view(frames // time, time, channels, rows * columns)
        changes = change(normed.permute(0, 3, 1, 2).flatten(0, 1))
        by_pixel = changes.view(frames // time, rows * columns, time, channels)
        by_frame = by_pixel.transpose(1, 2).reshape(frames, rows, columns, channels)
        return maps + by_frame.permute(0, 3, 1, 2)


class MotionModules(nn.ModuleList):
    """The four motion modules of a spatio-temporal head, in the order of the head's places."""

    def __init__(self, config: HeadConfig) -> None:
        coarse = config.out_channels[2:]
        super().__init__(MotionModule(c) for c in (*coarse, config.features, config.features))

    def mix(self, time: int) -> Callable[[int, Tensor], Tensor]:
        """Mix the frames of clips of `time` frames.

        Raises:
            InputError: the clips are longer than the position code.
        """
        if time > TEMPORAL_WINDOW:
            raise InputError(
                f"A clip of {time} frames is longer than the {TEMPORAL_WINDOW} frames the network "
                "attends over; cut it into windows."
            )

        def mix(place: int, maps: Tensor) -> Tensor:
            mixed: Tensor = self[place](maps, time)
            return mixed

        return mix

    def mix_next(
        self,
        contexts: Iterable[Tensor],
        left: list[Tensor],
        order: Int[Tensor, " earlier"] | None = None,
    ) -> Callable[[int, Tensor], Tensor]:
        """Mix the next frame of a stream with those before it.

        Args:
            contexts: what they left for each attention in turn; empty for the first frame.
            left: receives what the frame leaves behind.
            order: places in time of what they left, from 0; None if they follow each other.
        """
        seen = iter(contexts)

        def mix(place: int, maps: Tensor) -> Tensor:
            mixed, entries = cast(MotionModule, self[place]).step(maps, seen, order)
            left.extend(entries)
            return mixed

        return mix
