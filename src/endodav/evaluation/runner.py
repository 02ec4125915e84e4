"""Stored predictions against a sequence: every protocol and metric, in bounded memory.

A video is decoded once into a scratch file. Each protocol aligns and scores it from there; the
network is not needed again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from endodav.data.files import explained
from endodav.data.sequence import FrameRef, Sample
from endodav.data.sequence import Sequence as Video
from endodav.errors import InputError, RecipeError
from endodav.evaluation.boundary import BoundarySums, boundary_compute, boundary_update
from endodav.evaluation.flow import FlowSums, Look, flow_of_camera, opw_compute, opw_update
from endodav.evaluation.metrics import ALL, STANDARD
from endodav.evaluation.pictures import Gallery, Pictures
from endodav.evaluation.pipeline import each_ahead
from endodav.evaluation.predict import PREDICTION, predict
from endodav.evaluation.predictions import Prediction, open_prediction
from endodav.evaluation.protocols import (
    PROTOCOLS,
    AlignedFrame,
    EvalFrame,
    Protocol,
    align,
    resized,
    score,
)
from endodav.evaluation.spool import Beginning, Spool
from endodav.evaluation.temporal import (
    CONVENTIONS,
    TemporalSums,
    View,
    temporal_compute,
    temporal_update,
)
from endodav.inference.estimator import DepthEstimator
from endodav.types import Kind

DRIFT_LENGTHS = (110, 192, 300, 400, 500)  # frames, as in Video Depth Anything's figure
METRIC = "metric"
WRONG_UNIT = 30.0  # times too large or small: no network is that wrong, a unit is
OVER_TIME = ("tae_endodav", "tas_endodav", "tae_vda", "tas_vda", "opw")


@dataclass(frozen=True)
class VideoScore:
    """What one protocol says of one video.

    Attributes:
        protocol: name.
        frames: frames that count.
        clipped: share of pixels that alignment put outside the range.
        metrics: by name; what cannot be computed is absent.
        drift: Abs Rel of the first frames of the video, by how many.
        notes: what a reader should know.
    """

    protocol: str
    frames: int
    clipped: float
    metrics: Mapping[str, float]
    drift: Mapping[int, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scored:
    """A video under every protocol.

    Attributes:
        name: of the video.
        scores: one a protocol.
        pictures: of the first protocol; None where they were not asked for.
    """

    name: str
    scores: tuple[VideoScore, ...]
    pictures: Pictures | None


def choose_protocols(text: str, kind: Kind) -> list[Protocol]:
    """Protocols by name, separated by commas, or "all" that make sense for predictions of `kind`.

    Raises:
        RecipeError: there is no such protocol, or it needs depth in millimetres.
    """
    if text == "all":
        return [p for p in PROTOCOLS.values() if p.name != METRIC or kind is Kind.DEPTH]
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in PROTOCOLS:
            raise RecipeError(
                f"There is no protocol {name!r}; choose all or some of {', '.join(PROTOCOLS)}."
            )
        if name == METRIC and kind is Kind.INVERSE_DEPTH:
            raise RecipeError(
                "Protocol metric compares millimetres, but these predictions are inverse depth, "
                "which has no unit; choose another protocol."
            )
    return [PROTOCOLS[name] for name in names]


def fingerprint(video: Video) -> str:
    """SHA-256 of what a sequence is made of: content of its files in order, cameras and poses."""
    digest = hashlib.sha256(video.name.encode())
    for path in dict.fromkeys(p for ref in video.refs for p in (ref.image, ref.depth) if p):
        with explained(path, "a frame or its depth"), path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    for ref in video.refs:
        for array in (ref.T_world_from_camera, ref.intrinsics):
            digest.update(b"-" if array is None else array.tobytes())
    return digest.hexdigest()


def predict_once(
    estimator: DepthEstimator, video: Video, data_sha256: str, cache: Path
) -> Prediction:
    """The prediction of a model, from the cache where the same run is there already.

    The key is made of the hash of the weights, everything that decides how they are run, and the
    fingerprint of the data, which reads every file and is therefore the caller's to keep.

    Args:
        estimator: the model and how it is run.
        video: what it sees.
        data_sha256: `fingerprint` of the video.
        cache: folder of the predictions.

    Raises:
        InputError: the video cannot be read.
        OutputError: the cache cannot be written.
    """
    meta = estimator.meta
    key = {
        "weights": meta.weights_sha256,
        "settings": meta.settings,
        "version": meta.endodav_version,
        "data": data_sha256,
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    folder = cache / "predictions" / name
    if not (folder / PREDICTION).exists():
        predict(estimator, video, folder)
    return open_prediction(folder / PREDICTION)


def evaluate_video(
    prediction: Prediction,
    video: Video,
    protocols: Sequence[Protocol],
    metrics: Collection[str] = ALL,
    *,
    scratch: Path | None = None,
    pictures: bool = False,
) -> Scored:
    """Score a prediction under every protocol.

    Args:
        prediction: as many frames as the video.
        video: with ground truth in mm.
        protocols: at least one.
        metrics: of `metrics.ALL`; more than the standard five also means boundaries, drift, and
            consistency over time where camera and poses are known.
        scratch: folder for the scratch file; the system's own if not given.
        pictures: whether to collect what a report shows.

    Raises:
        InputError: frames or sizes do not match, or scale and shift cannot be found; it says where.
    """
    _check_count(prediction.count, prediction, video)
    try:
        with Spool(_frames(prediction, video), scratch) as spool:
            _check_count(len(spool), prediction, video)
            scores, gallery = [], None
            for protocol in protocols:
                wanted = Gallery() if pictures and gallery is None else None
                scores.append(_score(spool, prediction.kind, video, protocol, metrics, wanted))
                gallery = gallery or wanted
    except InputError as error:
        raise InputError(f"{video.name}: {error}") from error
    return Scored(video.name, tuple(scores), gallery.finish() if gallery else None)


def _check_count(count: int | None, prediction: Prediction, video: Video) -> None:
    if count is not None and count != len(video):
        raise InputError(
            f"{prediction.path} has {count} frames, but {video.name} has {len(video)}; "
            "predict every frame of the sequence, and nothing else."
        )


def _frames(prediction: Prediction, video: Video) -> Iterator[EvalFrame]:
    """Frames with the prediction at the size of the truth; pictures are not read."""
    truths = each_ahead(partial(_truth, video), video.refs)
    for index, (values, truth) in enumerate(zip(prediction.maps(), truths, strict=False)):
        if truth is None:
            truth = np.zeros(values.shape, np.float32)
        height, width = truth.shape
        if abs(math.log(values.shape[1] / values.shape[0] * height / width)) > math.log(1.1):
            raise InputError(
                f"The prediction of frame {index} is {values.shape[1]}x{values.shape[0]}, "
                f"but its truth is {width}x{height}, another shape; do not crop predictions."
            )
        known = np.isfinite(truth) & (truth > 0)
        yield EvalFrame(resized(values, height, width), truth, known)


def _truth(video: Video, ref: FrameRef) -> NDArray[np.float32] | None:
    return None if video.read_depth is None or ref.depth is None else video.read_depth(ref)


def _score(
    spool: Spool,
    kind: Kind,
    video: Video,
    protocol: Protocol,
    metrics: Collection[str],
    gallery: Gallery | None,
) -> VideoScore:
    found = score(spool, kind, protocol, metrics)
    errors = asdict(found.errors)
    values = {name: errors[name] for name in metrics}
    notes = [*_unit_notes(spool, protocol), *_sign_notes(spool)]
    drift: dict[int, float] = {}
    if set(metrics) - set(STANDARD):
        sums = _Sums()
        for frame, sample in _aligned(spool, kind, video, protocol):
            sums.add(frame, sample)
            if gallery is not None:
                gallery.add(frame, sample.image)
        values |= {name: x for name, x in sums.compute().items() if math.isfinite(x)}
        drift = _drift(spool, kind, protocol)
        if not sums.moved:
            notes.append("TAE, TAS and OPW need poses and intrinsics, which these data lack.")
    elif gallery is not None:
        for frame, sample in _aligned(spool, kind, video, protocol):
            gallery.add(frame, sample.image)
    return VideoScore(
        protocol.name, found.errors.frames, found.clipped, values, drift, tuple(notes)
    )


def _aligned(
    spool: Spool, kind: Kind, video: Video, protocol: Protocol
) -> Iterator[tuple[AlignedFrame, Sample]]:
    """Aligned frames with their samples."""
    samples = iter(video)
    sample = next(samples)
    for frame in align(spool, kind, protocol):
        while sample.index < frame.index:
            sample = next(samples)
        yield frame, sample


def _drift(spool: Spool, kind: Kind, protocol: Protocol) -> dict[int, float]:
    """Abs Rel of the first frames, aligned by themselves, for every length that the video has."""
    return {
        length: score(Beginning(spool, length), kind, protocol, ("abs_rel",)).errors.abs_rel
        for length in DRIFT_LENGTHS
        if length <= len(spool)
    }


def _unit_notes(spool: Spool, protocol: Protocol) -> Iterator[str]:
    """Whether predictions in millimetres can be what they claim."""
    if protocol.name != METRIC:
        return
    frame = next(frame for frame in spool if frame.valid.any())
    ratio = float(np.median(frame.prediction[frame.valid]) / np.median(frame.truth[frame.valid]))
    if ratio > WRONG_UNIT or 0 < ratio < 1 / WRONG_UNIT:
        said = f"{ratio:.3g} times too large" if ratio > 1 else f"{1 / ratio:.3g} times too small"
        yield f"Predictions are {said}: they are hardly in millimetres; check their unit."


def _sign_notes(spool: Spool) -> Iterator[str]:
    if spool.not_positive > 0:
        yield f"{spool.not_positive:.2%} of the predicted values are zero or negative."


class _Sums:
    """Statistics that need whole aligned frames and their neighbours."""

    def __init__(self) -> None:
        self.moved = 0
        self._boundary = BoundarySums()
        self._flow = FlowSums()
        self._temporal = dict.fromkeys(CONVENTIONS, TemporalSums())
        self._before: tuple[AlignedFrame, Sample] | None = None

    def add(self, frame: AlignedFrame, sample: Sample) -> None:
        self._boundary += boundary_update(frame.depth, frame.truth, frame.usable)
        before, self._before = self._before, (frame, sample)
        if before is None or before[1].index + 1 != sample.index:
            return
        first, earlier = before
        T_first, T_second, K = (
            earlier.T_world_from_camera,
            sample.T_world_from_camera,
            earlier.intrinsics,
        )
        if T_first is None or T_second is None or K is None:
            return
        self.moved += 1
        T_second_from_first = np.linalg.inv(T_second) @ T_first
        views = (View(first.depth, first.usable), View(frame.depth, frame.usable))
        for name, convention in CONVENTIONS.items():
            self._temporal[name] += temporal_update(*views, T_second_from_first, K, convention)
        flow = flow_of_camera(
            np.where(frame.usable, frame.truth, 0), K, np.linalg.inv(T_second_from_first)
        )
        self._flow += opw_update(
            Look(first.depth, earlier.image), Look(frame.depth, sample.image), flow
        )

    def compute(self) -> dict[str, float]:
        found = {"boundary_f1": boundary_compute(self._boundary), "opw": opw_compute(self._flow)}
        for name, sums in self._temporal.items():
            errors = temporal_compute(sums)
            found |= {f"tae_{name}": errors.tae, f"tas_{name}": errors.tas}
        return found
