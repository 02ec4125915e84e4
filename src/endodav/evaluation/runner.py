"""Stored predictions against a sequence: every protocol and metric, in bounded memory.

A video is decoded once into a scratch file. Each protocol aligns and scores it from there; the
network is not needed again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endodav.data.files import explained
from endodav.data.sequence import FrameRef
from endodav.data.sequence import Sequence as Video
from endodav.errors import InputError, RecipeError
from endodav.evaluation.alignment import UndeterminedError
from endodav.evaluation.metrics import ALL
from endodav.evaluation.pictures import Gallery, Pictures
from endodav.evaluation.predict import PREDICTION, predict
from endodav.evaluation.predictions import Prediction, open_prediction
from endodav.evaluation.protocols import PROTOCOLS, EvalFrame, Protocol, score
from endodav.evaluation.scoring import EVERY, VideoScore, score_video
from endodav.evaluation.spaces import resized
from endodav.evaluation.spool import Spool
from endodav.inference.estimator import DepthEstimator
from endodav.types import Kind
from endodav.video.ahead import each_ahead

DRIFT_LENGTHS = (110, 192, 300, 400, 500)  # frames, as in Video Depth Anything's figure
METRIC = "metric"
END: Any = object()  # of predictions or truths
WRONG_UNIT = 30.0  # times too large or small: no network is that wrong, a unit is


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
        if ref.number is not None:
            digest.update(str(ref.number).encode())
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
    metrics: Collection[str] = EVERY,
    *,
    lengths: Collection[int] = (),
    scratch: Path | None = None,
    pictures: bool = False,
) -> Scored:
    """Score a prediction under every protocol.

    Args:
        prediction: as many frames as the video.
        video: with ground truth in mm.
        protocols: at least one.
        metrics: of `scoring.EVERY`; those over time exist where camera and poses are known.
        lengths: frames from the start that are aligned and scored by themselves, where there are
            as many.
        scratch: folder for the scratch file; the system's own if not given.
        pictures: whether to collect what a report shows.

    Raises:
        InputError: frames or sizes do not match, or no protocol finds scale and shift; it says
            where. Where some do, the others have no metrics, but a note that says why.
    """
    _check_count(prediction.count, prediction, video)
    try:
        whole = pictures or not set(ALL).issuperset(metrics)
        with Spool(_frames(prediction, video), scratch, whole=whole) as spool:
            _check_count(len(spool), prediction, video)
            scores, gallery, failed = [], None, list[UndeterminedError]()
            for protocol in protocols:
                wanted = Gallery() if pictures and gallery is None else None
                try:
                    scores.append(
                        _score(spool, prediction.kind, video, protocol, metrics, lengths, wanted)
                    )
                except UndeterminedError as error:
                    failed.append(error)
                    scores.append(_undetermined(protocol, error))
                    continue
                gallery = gallery or wanted
            if len(failed) == len(protocols):
                raise failed[0]
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
    for index, (values, truth) in enumerate(zip_longest(prediction.maps(), truths, fillvalue=END)):
        if values is END:
            return  # who counts the frames says that there are too few
        if truth is END:
            raise InputError(
                f"{prediction.path} has more than the {len(video)} frames of {video.name}; predict "
                "every frame of the sequence, and nothing else."
            )
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
    lengths: Collection[int],
    gallery: Gallery | None,
) -> VideoScore:
    see = None if gallery is None else gallery.add
    found = score_video(spool, kind, video, protocol, metrics, see)
    notes = (*_unit_notes(spool, protocol), *_sign_notes(spool), *found.notes)
    return replace(found, notes=notes, drift=_drift(spool, kind, protocol, lengths))


def _undetermined(protocol: Protocol, error: UndeterminedError) -> VideoScore:
    """What is left where a protocol finds no scale and shift and others do."""
    return VideoScore(
        protocol.name, 0, 0.0, {}, notes=(f"No errors under {protocol.name}: {error}",)
    )


def _drift(
    spool: Spool, kind: Kind, protocol: Protocol, lengths: Collection[int]
) -> dict[int, float]:
    """Abs Rel of the first frames, aligned by themselves, for every length that the video has."""
    return {
        length: score(spool.beginning(length), kind, protocol, ("abs_rel",)).errors.abs_rel
        for length in lengths
        if length <= len(spool)
    }


def _unit_notes(spool: Spool, protocol: Protocol) -> Iterator[str]:
    """Whether predictions in millimetres can be what they claim."""
    if protocol.name != METRIC:
        return
    frame = next(frame for frame in spool.known() if frame.truth.size)
    ratio = float(np.median(frame.prediction) / np.median(frame.truth))
    if ratio > WRONG_UNIT or 0 < ratio < 1 / WRONG_UNIT:
        said = f"{ratio:.3g} times too large" if ratio > 1 else f"{1 / ratio:.3g} times too small"
        yield f"Predictions are {said}: they are hardly in millimetres; check their unit."


def _sign_notes(spool: Spool) -> Iterator[str]:
    if spool.not_positive > 0:
        yield f"{spool.not_positive:.2%} of the predicted values are zero or negative."
