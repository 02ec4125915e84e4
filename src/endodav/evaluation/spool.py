"""A clip decoded once into a scratch file, to be gone through as often as alignment needs."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from endodav.errors import OutputError
from endodav.evaluation.protocols import EvalFrame, Known, known
from endodav.video.ahead import ahead


@dataclass(frozen=True)
class _Place:
    """Where a frame lies: known pixels first, so that alignment reads nothing else.

    Attributes:
        offset: of predictions and truths at known pixels, then predictions elsewhere, then which
            pixels are known as bits.
        shape: of its maps.
        known: number of known pixels.
        largest: of all predicted values.
    """

    offset: int
    shape: tuple[int, int]
    known: int
    largest: float


class Spool:
    """Predictions and truths in float32 on disk, 8 bytes a pixel, removed at the end.

    Decoding PNG or EXR costs more than scoring, and alignment goes over a video up to three times.
    Memory holds one frame, whatever the length; the scratch file is never mapped, because its pages
    would count as memory of the process.

    Args:
        frames: prediction and truth, in order; truth comes back as 0 where it is unknown.
        folder: where the scratch file is made, made if absent; the system's own if not given.
        whole: keep predictions where the truth is unknown, too; else `known` is all there is.

    Raises:
        InputError: sizes of a frame differ, or a prediction is not finite.
        OutputError: the scratch file cannot be written.
    """

    def __init__(
        self, frames: Iterable[EvalFrame], folder: Path | None = None, *, whole: bool = True
    ) -> None:
        self._whole = whole
        self.not_positive = 0.0  # share of predicted values that are zero or negative
        self._places: list[_Place] = []
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with us
            try:
                for frame, found in ahead(_with_known(ahead(frames))):
                    self._append(frame, found)
            except BaseException:
                self._file.close()
                raise
        except OSError as error:
            raise OutputError(
                f"The scratch file for scoring cannot be written ({error.strerror}); it needs "
                "8 bytes for each pixel of the video: free some space or give --cache."
            ) from error
        self.not_positive /= max(len(self._places), 1)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[EvalFrame]:
        return map(self._frame, self._places)

    def known(self) -> Iterator[Known]:
        """Known pixels of every frame."""
        return map(self._known, self._places)

    def beginning(self, frames: int) -> Spool:
        """The first frames as a clip of its own, which ends with this one."""
        part = copy(self)
        part._places = self._places[:frames]
        return part

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def _append(self, frame: EvalFrame, found: Known) -> None:
        size = found.truth.size
        place = _Place(self._file.tell(), frame.truth.shape, size, found.largest)
        for values in (found.prediction, found.truth):
            self._file.write(np.asarray(values, np.float32).data)
        if self._whole and size < frame.valid.size:
            elsewhere = frame.prediction.ravel().take(np.flatnonzero(~frame.valid))
            self._file.write(np.asarray(elsewhere, np.float32).data)
            self._file.write(np.packbits(frame.valid).data)
        self._places.append(place)
        if frame.prediction.min() <= 0:
            self.not_positive += np.count_nonzero(frame.prediction <= 0) / frame.prediction.size

    def _known(self, place: _Place) -> Known:
        self._file.seek(place.offset)
        prediction, truth = self._read(2 * place.known).reshape(2, -1)
        return Known(prediction, truth, place.largest)

    def _frame(self, place: _Place) -> EvalFrame:
        assert self._whole, "only the known pixels were kept"
        found = self._known(place)
        if place.known == math.prod(place.shape):
            prediction, truth = (values.reshape(place.shape) for values in found[:2])
            return EvalFrame(prediction, truth, np.ones(place.shape, bool))
        pixels = math.prod(place.shape)
        elsewhere = self._read(pixels - place.known)
        bits = np.frombuffer(self._file.read(-(-pixels // 8)), np.uint8)
        valid = np.unpackbits(bits, count=pixels).astype(bool).reshape(place.shape)
        chosen = np.flatnonzero(valid)
        prediction, truth = np.empty(place.shape, np.float32), np.zeros(place.shape, np.float32)
        prediction.put(chosen, found.prediction)
        prediction.put(np.flatnonzero(~valid), elsewhere)
        truth.put(chosen, found.truth)
        return EvalFrame(prediction, truth, valid)

    def _read(self, count: int) -> NDArray[np.float32]:
        values = np.empty(count, np.float32)
        self._file.readinto(values.data.cast("B"))  # type: ignore[attr-defined]
        return values


def _with_known(frames: Iterable[EvalFrame]) -> Iterator[tuple[EvalFrame, Known]]:
    return ((frame, known(index, frame)) for index, frame in enumerate(frames))
