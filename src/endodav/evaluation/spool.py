"""A clip decoded once into a scratch file, to be gone through as often as alignment needs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from endodav.errors import InputError, OutputError
from endodav.evaluation.pipeline import ahead
from endodav.evaluation.protocols import EvalFrame


@dataclass(frozen=True)
class _Place:
    offset: int
    shape: tuple[int, int]


class Spool:
    """Predictions and truths in float32 on disk, 8 bytes a pixel, removed at the end.

    Decoding PNG or EXR costs more than scoring, and alignment goes over a video up to three times.
    Memory holds one frame, whatever the length; the scratch file is never mapped, because its pages
    would count as memory of the process.

    Args:
        frames: prediction and truth, in order; where the truth is unknown it is stored as 0.
        folder: where the scratch file is made.

    Raises:
        OutputError: the scratch file cannot be written.
    """

    def __init__(self, frames: Iterable[EvalFrame], folder: Path | None = None) -> None:
        self.not_positive = 0.0  # share of predicted values that are zero or negative
        self._places: list[_Place] = []
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with us
        try:
            for frame in ahead(frames):
                self._append(frame)
        except BaseException as error:
            self._file.close()
            if isinstance(error, OSError):
                raise OutputError(
                    f"The scratch file for scoring cannot be written ({error.strerror}); it needs "
                    "8 bytes for each pixel of the video: free some space or give --cache."
                ) from error
            raise
        self.not_positive /= max(len(self._places), 1)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[EvalFrame]:
        return self.first(None)

    def first(self, count: int | None) -> Iterator[EvalFrame]:
        """The first frames, or all of them."""
        for place in islice(self._places, count):
            self._file.seek(place.offset)
            prediction, truth = self._read(place.shape), self._read(place.shape)
            yield EvalFrame(prediction, truth, truth > 0)

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def _append(self, frame: EvalFrame) -> None:
        prediction, truth = frame.prediction, np.where(frame.valid, frame.truth, 0)
        if prediction.shape != truth.shape:
            raise InputError(
                f"The prediction of frame {len(self)} is {prediction.shape[1]}x"
                f"{prediction.shape[0]}, but its truth is {truth.shape[1]}x{truth.shape[0]}."
            )
        self._places.append(_Place(self._file.tell(), truth.shape))
        self.not_positive += float(np.mean(prediction <= 0))
        for values in (prediction, truth):
            self._file.write(np.ascontiguousarray(values, np.float32).data)

    def _read(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        values = np.empty(shape, np.float32)
        self._file.readinto(values.data.cast("B"))  # type: ignore[attr-defined]
        return values


@dataclass(frozen=True)
class Beginning:
    """The first frames of a spool as a clip of its own."""

    spool: Spool
    frames: int

    def __iter__(self) -> Iterator[EvalFrame]:
        return self.spool.first(self.frames)
