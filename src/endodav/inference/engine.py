"""The one loop: frames, windows, network, alignment, depth; memory depends on the window alone.

Kept at any time: the 8-bit frames not yet written (at most one window and one frame), frames that
the source has prepared ahead, what the network made of each frame that a coming window needs, and
the depth of the current window and of what the next one inherits. No frame goes through the encoder
twice. Depth becomes full-size one by one as it is written.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby

import torch
from torch import Tensor, nn

from endodav.errors import InputError
from endodav.inference.alignment import (
    Estimate,
    FitFunction,
    Moments,
    cross_fade,
    guarded_fit,
    moments,
)
from endodav.inference.predictor import ClipNetwork, Predictor, SeenFrame
from endodav.inference.settings import InferenceSettings
from endodav.inference.windows import Fit, Window, WindowPlan
from endodav.models.presets import ModelPreset
from endodav.types import DepthFrame, DepthMap, Frame, Units
from endodav.video.ahead import queue_length
from endodav.video.source import each_of

Estimates = Mapping[int, Estimate]  # by frame of the sequence
Size = tuple[int, int]  # rows, columns
BYTES_A_PIXEL = 3  # of an 8-bit frame
WORKING_COPIES = 8  # full-size maps alive while one is fitted, faded and written


class FrameBuffer:
    """The frames of one sequence, read when asked for and forgotten when told."""

    def __init__(self, frames: Iterator[tuple[Frame, SeenFrame]]) -> None:
        self._unread = frames
        self._frames: dict[int, Frame] = {}
        self._seen: dict[int, SeenFrame] = {}
        self.count = 0  # frames read so far; the length of the sequence once `has` has said no
        self.frame_size = (0, 0)

    def has(self, index: int) -> bool:
        """Whether the sequence has a frame of that number; reads up to it."""
        while self.count <= index:
            read = next(self._unread, None)
            if read is None:
                return False
            self._frames[self.count], self._seen[self.count] = read
            self.frame_size = read[0].image.shape[:2]
            self.count += 1
        return True

    def seen(self, index: int) -> SeenFrame:
        """A frame as the network sees it; past the end, the last one."""
        return self._seen[min(index, self.count - 1)]

    def take(self, index: int) -> Frame:
        """A frame, for the last time."""
        return self._frames.pop(index)

    def keep(self, indices: Iterable[int]) -> None:
        """Forget what the network saw of all other frames."""
        wanted = {min(index, self.count - 1) for index in indices}
        self._seen = {index: self._seen[index] for index in wanted if index in self._seen}


class DepthEngine:
    """Estimates the depth of a video of any length.

    Args:
        network: a network of `endodav.models.depth` that `preset` describes.
        preset: its input, kind and units.
        plan: how windows are laid out and joined.
        settings: precision and sizes.
        fit: how scale and shift follow from the shared pixels; `least_squares` is the official
            rule, which also accepts scales of 0 or less.
    """

    def __init__(
        self,
        network: nn.Module | ClipNetwork,
        preset: ModelPreset,
        plan: WindowPlan,
        settings: InferenceSettings | None = None,
        *,
        fit: FitFunction = guarded_fit,
    ) -> None:
        # Metric depth has no free scale or shift: windows are only faded into each other.
        metric = preset.units is Units.MILLIMETRES
        self.plan = replace(plan, fit=Fit.NONE) if metric else plan
        self.settings = settings or InferenceSettings()
        self.predictor = Predictor(network, preset, self.settings)
        self._fit = fit

    def run(self, source: Iterable[Frame]) -> Iterator[DepthFrame]:
        """Depth of every frame of `source`, once and in order, as soon as it is final.

        A change of resolution starts over, as if another video began.

        Raises:
            InputError: the source gives no frames.
            WeightsError: the network gives values that are not finite.
        """
        empty = True
        seen = each_of(source, self.predictor.see)
        for _, frames in groupby(seen, key=lambda frame_and_seen: frame_and_seen[0].image.shape):
            empty = False
            yield from self._run_sequence(frames)
        if empty:
            raise InputError("The input has no frames; choose another file or another part of it.")

    def _run_sequence(self, frames: Iterator[tuple[Frame, SeenFrame]]) -> Iterator[DepthFrame]:
        buffer = FrameBuffer(frames)
        inherited: Estimates = {}
        if buffer.has(0):
            self._fit_into_memory(buffer)
        for window in self.plan.windows(buffer.has):
            self._read(buffer, window)
            following = self.plan.window(window.number + 1)
            last = not buffer.has(self.plan.step * following.number)
            own = self._estimate(window, last, buffer, inherited)
            for position in self.plan.settled(window, last):
                index = window.frames[position]
                if index < buffer.count:
                    weight = self.plan.weight(window, position)
                    values = self._settle(index, own, inherited, weight, buffer)
                    frame = buffer.take(index)
                    yield DepthFrame(values, frame.timestamp, frame.index, frame.image)
            inherited = {
                index: inherited[index] if index in inherited else own[index].kept()
                for index in following.frames[: self.plan.inherited]
                if index in inherited or index in own
            }
            buffer.keep(following.frames)

    def _read(self, buffer: FrameBuffer, window: Window) -> None:
        """Read a window; of the first one, what has come is encoded while the rest is decoded.

        Later ones have been decoded while the one before was computed. They are encoded in one go,
        which casts weights to half precision only once.
        """
        if window.number > 0:
            buffer.has(window.frames[-1])
            return
        fresh: list[SeenFrame] = []
        for index in window.frames:
            if buffer.has(index):
                fresh.append(buffer.seen(index))
            if len(fresh) == self.predictor.encoded_at_once:
                self.predictor.encode(fresh)
                fresh.clear()

    def _fit_into_memory(self, buffer: FrameBuffer) -> None:
        seen, pixels = buffer.seen(0), math.prod(buffer.frame_size)
        frame = pixels * BYTES_A_PIXEL
        ahead = queue_length(frame)
        besides = WORKING_COPIES * pixels * torch.float64.itemsize + ahead * seen.input.nbytes
        if self.predictor.device.type != "cuda":  # a GPU holds neither frames nor results
            _, rows, columns = seen.input.shape
            depth = math.prod(self.settings.depth_size(buffer.frame_size, (rows, columns)))
            result = frame + depth * torch.float32.itemsize
            besides += (self.plan.length + 1 + ahead) * frame + queue_length(result) * result
        self.predictor.fit_into_memory(seen, self.plan.length, besides)

    @torch.inference_mode()
    def _estimate(
        self, window: Window, last: bool, buffer: FrameBuffer, inherited: Estimates
    ) -> Estimates:
        """The window's aligned depth of each frame whose depth has a say."""
        wanted = self.plan.wanted(window, last, buffer.count)
        if not wanted:
            return {}
        shown = [i for i in window.frames if self.plan.fill or i < buffer.count]
        maps = self.predictor.predict([buffer.seen(index) for index in shown], wanted)
        indices = [window.frames[position] for position in wanted]
        raw = {index: Estimate(values) for index, values in zip(indices, maps, strict=True)}
        if window.number == 0 or not self.plan.fit_positions:
            return raw
        size = self._size(maps[0], buffer)
        sums = Moments()
        for position in self.plan.fit_positions:
            index = window.frames[position]
            sums += moments(raw[index].at(size), inherited[index].at(size))
        affine = self._fit(sums)
        return {index: Estimate(estimate.values, affine) for index, estimate in raw.items()}

    @torch.inference_mode()
    def _settle(
        self, index: int, own: Estimates, inherited: Estimates, weight: float, buffer: FrameBuffer
    ) -> DepthMap:
        """Final depth of a frame: its window's to this weight, an earlier one's to the rest."""
        estimate = own[index] if weight > 0 else inherited[index]
        size = self._size(estimate.values, buffer)
        depth = estimate.at(size)
        if 0 < weight < 1:
            depth = cross_fade(inherited[index].at(size), depth, weight)
        return depth.cpu().numpy()

    def _size(self, values: Tensor, buffer: FrameBuffer) -> Size:
        """Rows and columns of the depth to give out."""
        return self.settings.depth_size(buffer.frame_size, (values.shape[0], values.shape[1]))
