"""One video under one protocol, in every metric: of pixels, of boundaries, over time."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from jaxtyping import Float

from endodav.data.sequence import Sample
from endodav.data.sequence import Sequence as Video
from endodav.evaluation.boundary import BoundarySums, boundary_compute, boundary_update
from endodav.evaluation.flow import FlowSums, Look, flow_of_camera, opw_compute, opw_update
from endodav.evaluation.metrics import ALL
from endodav.evaluation.protocols import AlignedFrame, EvalFrame, Protocol, align, score
from endodav.evaluation.temporal import (
    CONVENTIONS,
    Matrix3,
    Matrix4,
    TemporalSums,
    View,
    temporal_compute,
    temporal_update,
)
from endodav.types import Kind, RGBImage

BOUNDARY, OPW = "boundary_f1", "opw"
# Names by what an error over time is called: its convention, and the attribute that holds it.
OVER_TIME = {
    f"{attribute}_{convention}": (convention, attribute)
    for convention in CONVENTIONS
    for attribute in ("tae", "tas")
}
EVERY = (*ALL, BOUNDARY, *OVER_TIME, OPW)
NO_POSES = "TAE, TAS and OPW need poses and intrinsics, which these data lack."

Map = Float[np.ndarray, "height width"]
See = Callable[[AlignedFrame, RGBImage], object]


@dataclass(frozen=True)
class VideoScore:
    """What one protocol says of one video.

    Attributes:
        protocol: name.
        frames: frames that count.
        clipped: share of pixels that alignment put outside the range.
        metrics: by name; what cannot be computed is absent.
        inverted: frames that the fit turned round, so that near became far.
        degenerate: frames whose own fit is undetermined, which count as the best constant.
        drift: Abs Rel of the first frames of the video, by how many.
        notes: what else a reader should know.
    """

    protocol: str
    frames: int
    clipped: float
    metrics: Mapping[str, float]
    inverted: int = 0
    degenerate: int = 0
    drift: Mapping[int, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def score_video(
    clip: Iterable[EvalFrame],
    kind: Kind,
    video: Video,
    protocol: Protocol,
    metrics: Collection[str] = EVERY,
    see: See | None = None,
) -> VideoScore:
    """Errors of a prediction of `video`.

    Args:
        clip: prediction and truth of its frames, in order; gone through several times.
        kind: what the predictions are.
        video: has poses and intrinsics, and pictures where OPW or `see` needs them.
        protocol: how predictions meet the truth.
        metrics: names out of `EVERY`.
        see: shown every aligned frame and its picture.

    Raises:
        InputError: nothing can be compared, see `protocols.align`.
    """
    found = score(clip, kind, protocol, [name for name in ALL if name in metrics])
    values, notes = asdict(found.errors), list[str]()
    if see is not None or not set(ALL).issuperset(metrics):
        whole = WholeFrames(video, metrics)
        for frame, image in _with_pictures(
            align(clip, kind, protocol), video, see is not None or OPW in metrics
        ):
            whole.add(frame.index, View(frame.depth, frame.usable), frame.truth, image)
            if see is not None and image is not None:
                see(frame, image)
        values |= whole.compute()
        if not whole.pairs and not {*OVER_TIME, OPW}.isdisjoint(metrics):
            notes.append(NO_POSES)
    return VideoScore(
        protocol.name,
        found.errors.frames,
        found.clipped,
        {name: values[name] for name in EVERY if name in metrics and math.isfinite(values[name])},
        found.inverted,
        found.degenerate,
        notes=tuple(notes),
    )


def _with_pictures(
    frames: Iterable[AlignedFrame], video: Video, wanted: bool
) -> Iterator[tuple[AlignedFrame, RGBImage | None]]:
    """Aligned frames with their pictures, which are not read where nobody wants them."""
    if not wanted:
        yield from ((frame, None) for frame in frames)
        return
    samples = iter(replace(video, read_depth=None))
    for frame in frames:
        yield frame, next(sample.image for sample in samples if sample.index == frame.index)


class WholeFrames:
    """Statistics that need whole aligned frames, and those that need their neighbours as well.

    Args:
        video: has poses and intrinsics.
        metrics: names out of `EVERY`; those of single pixels are not looked at.
    """

    def __init__(self, video: Video, metrics: Collection[str]) -> None:
        self.pairs = 0  # neighbours whose camera is known
        self._video, self._metrics = video, metrics
        self._boundary, self._flow = BoundarySums(), FlowSums()
        wanted = {convention for name, (convention, _) in OVER_TIME.items() if name in metrics}
        self._temporal = dict.fromkeys(wanted, TemporalSums())
        self._before: tuple[int, View, RGBImage | None] | None = None

    def add(self, index: int, view: View, truth: Map, image: RGBImage | None = None) -> None:
        """Look at the next frame that has truth."""
        if BOUNDARY in self._metrics:
            self._boundary += boundary_update(view.depth, truth, view.valid)
        before, self._before = self._before, (index, view, image)
        camera = None if before is None else self._camera(before[0], index)
        if before is None or camera is None:
            return
        self.pairs += 1
        T_now_from_before, K = camera
        for name in self._temporal:
            self._temporal[name] += temporal_update(
                before[1], view, T_now_from_before, K, CONVENTIONS[name]
            )
        if OPW in self._metrics and image is not None and before[2] is not None:
            flow = flow_of_camera(
                np.where(view.valid, truth, 0), K, np.linalg.inv(T_now_from_before)
            )
            looks = Look(before[1].depth, before[2]), Look(view.depth, image)
            self._flow += opw_update(*looks, flow)

    def _camera(self, before: int, now: int) -> tuple[Matrix4, Matrix3] | None:
        """Motion between neighbours and their intrinsics; None where one is not known."""
        first, second = self._video.refs[before], self._video.refs[now]
        K = self._video.intrinsics if first.intrinsics is None else first.intrinsics
        T_first, T_second = first.T_world_from_camera, second.T_world_from_camera
        if now != before + 1 or K is None or T_first is None or T_second is None:
            return None
        return np.linalg.inv(T_second) @ T_first, K

    def compute(self) -> dict[str, float]:
        """By name, NaN where nothing could be computed."""
        errors = {name: temporal_compute(sums) for name, sums in self._temporal.items()}
        over_time = {
            name: getattr(errors[convention], attribute)
            for name, (convention, attribute) in OVER_TIME.items()
            if convention in errors
        }
        whole = {BOUNDARY: boundary_compute(self._boundary), OPW: opw_compute(self._flow)}
        return over_time | whole


def true_tae(video: Video) -> float:
    """TAE of the truth itself, which motion of the tissue and distortion of the lens keep above 0.

    It is what a perfect prediction would score in VDA's convention; NaN without camera or poses.
    """
    whole = WholeFrames(video, ("tae_vda",))
    for sample in video:
        truth = truth_of(sample)
        whole.add(sample.index, truth, truth.depth)
    return whole.compute()["tae_vda"]


def truth_of(sample: Sample) -> View:
    """True depth of a frame and where it is known; nowhere, where the frame has none."""
    if sample.depth is None or sample.valid is None:
        unknown = np.zeros(sample.image.shape[:2], np.float32)
        return View(unknown, unknown > 0)
    return View(sample.depth, sample.valid)
