"""One way to run one model, measured: speed, latency, memory, arithmetic."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from endodav.bench.machine import peak_memory_mb, peak_vram_mb
from endodav.bench.timing import Latency, Spread, seconds_of
from endodav.inference.estimator import TORCH, DepthEstimator
from endodav.inference.predictor import StreamingNetwork, device_of
from endodav.inference.preprocess import network_size
from endodav.inference.settings import NOT_COMPILED
from endodav.inference.windows import WindowPlan
from endodav.types import Frame, RGBImage
from endodav.video.sink import open_sink
from endodav.video.source import open_source

CLIP_FRAMES = 64  # kept in memory and gone through to and fro
END_TO_END_WINDOWS = 4
STREAM_WARM_UP = 5  # frames


@dataclass(frozen=True)
class Config:
    """A way to run a model, and what to run it on.

    Attributes:
        model: a name or a run folder, as `DepthEstimator.from_pretrained` takes it.
        backend: what runs the network.
        precision: its arithmetic.
        size: (width, height) of the frames; the network sees the multiple of its patches nearest.
        video: file whose frames are seen.
        weights: checkpoint in place of the published one.
        device: as `DepthEstimator.from_pretrained` takes it.
        repeats: windows that are timed.
        stream_frames: frames whose latency is taken.
        formats: what the end-to-end run writes.
        compile: as `DepthEstimator.from_pretrained` takes it.
    """

    model: str
    backend: str
    precision: str
    size: tuple[int, int]
    video: Path
    weights: Path | None = None
    device: str = "auto"
    repeats: int = 5
    stream_frames: int = 100
    formats: tuple[str, ...] = ("video", "npz")
    compile: str = NOT_COMPILED

    def load(self) -> DepthEstimator:
        """The model, to be run this way; depth comes out at the network's size."""
        estimator = DepthEstimator.from_pretrained(
            self.model,
            weights=self.weights,
            device=self.device,
            precision=self.precision,
            backend=self.backend,
            compile=self.compile,
            output_size="model",
        )
        fixed = estimator.loaded.preset.preprocessing.image_shape is not None
        return with_settings(estimator, input_size=None if fixed else min(self.size))


@dataclass(frozen=True)
class Row:
    """What was found.

    Attributes:
        model: as in the config, like backend.
        backend: what ran the network.
        compile: how it was translated before.
        precision: resolved: never "auto".
        network_size: rows and columns of what the network saw.
        ms_a_frame: milliseconds a returned frame: preprocessing, network and alignment.
        warm_up_seconds: the first two windows.
        frames_per_second: end to end, decoding and writing at the video's own size.
        streaming_ms: latency of one frame when streaming; None for a network without a memory.
        peak_rss_mb: of the process that measured all this.
        peak_vram_mb: of its tensors on a CUDA device.
        gflop_a_frame: arithmetic done for a returned frame; of the PyTorch network for any backend.
        gflops: the rate that follows, in GFLOP/s.
    """

    model: str
    backend: str
    compile: str
    precision: str
    network_size: tuple[int, int]
    ms_a_frame: Spread
    warm_up_seconds: float
    frames_per_second: float
    streaming_ms: Latency | None
    peak_rss_mb: float
    peak_vram_mb: float | None
    gflop_a_frame: float
    gflops: float

    def to_json(self) -> dict[str, Any]:
        """As a dictionary of plain values."""
        return asdict(self) | {"network_size": list(self.network_size)}


def measure(config: Config) -> Row:
    """Measure one way to run a model; best in a process of its own, for the sake of its memory.

    Raises:
        EndoDAVError: the video, the model or an option cannot be used.
    """
    clip = read_clip(config.video, config.size)
    estimator = config.load()
    network, device = estimator.loaded.model, device_of(estimator.loaded.model)
    warm_up, windows = time_windows(estimator, clip, config.repeats)
    spread = Spread.of([1000 * seconds / plan_of(estimator).step for seconds in windows])
    streaming = None
    if isinstance(network, StreamingNetwork):
        streaming = latency(replace(estimator, plan=None), clip, config.stream_frames)
    whole = with_settings(estimator, output_size="source")
    rate = end_to_end(whole, config.video, config.formats)
    peak = peak_memory_mb()  # before another network is loaded to count
    plain = replace(config, backend=TORCH, compile=NOT_COMPILED)
    counted = estimator if config == plain else plain.load()
    gflop = count_gflop(counted, clip)
    rows, columns = clip.shape[1:3]
    preprocessing = estimator.loaded.preset.preprocessing
    return Row(
        config.model,
        config.backend,
        config.compile,
        estimator.meta.settings["precision"],
        network_size(rows, columns, preprocessing, estimator.settings.input_size),
        spread,
        round(warm_up, 3),
        round(rate, 2),
        streaming,
        round(peak, 1),
        peak_vram_mb(device),
        round(gflop, 6),
        round(gflop / spread.median * 1000, 1),
    )


def with_settings(estimator: DepthEstimator, **changes: Any) -> DepthEstimator:
    """The same network, run in another way."""
    return replace(estimator, settings=replace(estimator.settings, **changes))


def plan_of(estimator: DepthEstimator) -> WindowPlan:
    """How it cuts videos into windows; never asked of one that streams."""
    assert estimator.plan is not None
    return estimator.plan


def read_clip(video: Path, size: tuple[int, int]) -> np.ndarray:
    """The first frames of a file, [time, height, width, 3] uint8 at `size` (width, height)."""
    with open_source(video) as source:
        images = [
            np.asarray(Image.fromarray(frame.image).resize(size, Image.Resampling.BOX))
            for frame in islice(source, CLIP_FRAMES)
        ]
    return np.stack(images)


def to_and_fro(clip: np.ndarray) -> Iterator[RGBImage]:
    """The frames of a clip for ever, without a jump."""
    return cycle(chain(clip, clip[-2:0:-1]))


def time_windows(
    estimator: DepthEstimator, clip: np.ndarray, repeats: int
) -> tuple[float, list[float]]:
    """Seconds of the first two windows, and of each of `repeats` windows behind them."""
    run = iter(estimator.run(to_and_fro(clip)))
    plan = plan_of(estimator)

    def give_out(frames: int) -> None:
        for _ in islice(run, frames):
            pass

    warm_up = seconds_of(lambda: give_out(plan.length + plan.step))
    return warm_up, [seconds_of(lambda: give_out(plan.step)) for _ in range(repeats)]


def latency(estimator: DepthEstimator, clip: np.ndarray, count: int) -> Latency:
    """How long each of `count` streamed frames takes, from its pixels to its depth."""
    stream = estimator.stream()
    frames = (
        Frame(image, Fraction(index, 25), index) for index, image in enumerate(to_and_fro(clip))
    )
    for frame in islice(frames, STREAM_WARM_UP):
        stream.step(frame)
    return Latency.of([seconds_of(partial(stream.step, frame)) for frame in islice(frames, count)])


def end_to_end(estimator: DepthEstimator, video: Path, formats: tuple[str, ...]) -> float:
    """Frames a second from a file to files: the loop of `endodav depth` over a few windows."""
    plan, written = plan_of(estimator), 0
    most = plan.length - plan.overlap + (END_TO_END_WINDOWS - 1) * plan.step

    def run() -> None:
        nonlocal written
        with (
            tempfile.TemporaryDirectory() as folder,
            open_source(video) as source,
            open_sink(Path(folder), formats, meta=estimator.meta, info=source.info) as sink,
        ):
            for frame in islice(estimator.run(source), most):
                sink.write(frame)
                written += 1

    seconds = seconds_of(run)
    return written / seconds


def count_gflop(estimator: DepthEstimator, clip: np.ndarray) -> float:
    """Arithmetic of a returned frame behind the first window, in GFLOP; a product and sum are 2."""
    run, plan = iter(estimator.run(to_and_fro(clip))), plan_of(estimator)
    for _ in islice(run, plan.length):
        pass
    from torch.utils.flop_counter import FlopCounterMode  # a fifth of a second for every command

    with FlopCounterMode(display=False) as counter:
        for _ in islice(run, plan.step):
            pass
    return float(counter.get_total_flops()) / plan.step / 1e9
