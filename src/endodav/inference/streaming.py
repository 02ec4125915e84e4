"""One frame in, one depth out, without looking ahead: the state is explicit and can be reset.

Video Depth Anything's training-free streaming: each temporal attention remembers its inputs of 31
earlier frames (two old ones, 29 recent). Nothing is aligned or smoothed afterwards. It costs
accuracy (the authors measure delta1 0.836 on ScanNet, against 0.926 offline), so it is for where
waiting is impossible.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import nn

from endodav.errors import InputError
from endodav.inference.alignment import Estimate
from endodav.inference.predictor import (
    ClipNetwork,
    ConcurrentNetwork,
    Predictor,
    SeenFrame,
    TemporalState,
)
from endodav.inference.scene_cut import SceneCuts
from endodav.inference.settings import InferenceSettings
from endodav.models.presets import ModelPreset
from endodav.types import DepthFrame, Frame
from endodav.video.ahead import ahead
from endodav.video.source import each_of


class StreamingDepth:
    """Depth of a live stream.

    A scene cut or a change of resolution resets by itself. Networks without a memory see each frame
    alone.

    Args:
        network: a network of `endodav.models.depth` that `preset` describes.
        preset: its input, kind and units.
        settings: precision and sizes.
        detect_cuts: whether a scene cut resets the memory.

    Attributes:
        state: what the network remembers, None before the first frame and for networks without a
            memory.
    """

    def __init__(
        self,
        network: nn.Module | ClipNetwork,
        preset: ModelPreset,
        settings: InferenceSettings | None = None,
        *,
        detect_cuts: bool = True,
    ) -> None:
        self.settings = settings or InferenceSettings()
        self.predictor = Predictor(network, preset, self.settings)
        self._detect_cuts = detect_cuts
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next frame begins another video."""
        self.state: TemporalState = None
        self._cuts = SceneCuts()
        self._size: tuple[int, ...] | None = None

    def step(self, frame: Frame) -> DepthFrame:
        """Depth of `frame`, knowing the frames given before.

        Raises:
            WeightsError: the network gives values that are not finite.
        """
        return self._depth(*self.predictor.see(frame))

    def run(self, source: Iterable[Frame]) -> Iterator[DepthFrame]:
        """`step` for every frame of `source`.

        A backend encodes a frame while the one before is decoded: more frames a second, each of
        them later, for it waits for its turn and has half of the cores.

        Raises:
            InputError: the source gives no frames.
            WeightsError: as `step`.
        """
        empty = True
        for frame, seen in self._seen(source):
            empty = False
            yield self._depth(frame, seen)
        if empty:
            raise InputError("The input has no frames; choose another file or another part of it.")

    def _seen(self, source: Iterable[Frame]) -> Iterator[tuple[Frame, SeenFrame]]:
        """The frames, prepared; encoded too, ahead of their turn, where that is of use."""
        frames = each_of(source, self.predictor.see)
        network = self.predictor.network
        if not isinstance(network, ConcurrentNetwork):
            yield from frames
            return
        with network.encoding_ahead():
            yield from ahead(map(self._encoded, frames))

    def _encoded(self, frame_and_seen: tuple[Frame, SeenFrame]) -> tuple[Frame, SeenFrame]:
        self.predictor.encode([frame_and_seen[1]])
        return frame_and_seen

    @torch.inference_mode()
    def _depth(self, frame: Frame, seen: SeenFrame) -> DepthFrame:
        if self._begins_another(frame):
            self.state = None
        depth, self.state = self.predictor.step(seen, self.state)
        rows, columns = frame.image.shape[:2]
        size = self.settings.depth_size((rows, columns), (depth.shape[0], depth.shape[1]))
        values = Estimate(depth).at(size).cpu().numpy()
        return DepthFrame(values, frame.timestamp, frame.index, frame.image)

    def _begins_another(self, frame: Frame) -> bool:
        size, self._size = self._size, frame.image.shape
        if size != frame.image.shape:
            self._cuts = SceneCuts()
        cut = self._detect_cuts and self._cuts.begins(frame.image)
        return cut or size != frame.image.shape
