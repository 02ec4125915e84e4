"""Running a model over a sequence, into a file that says what it is."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from endodav.data.sequence import Sequence as Video
from endodav.inference.estimator import DepthEstimator
from endodav.types import SourceInfo
from endodav.video.arrays import DEFAULT_FPS
from endodav.video.sink import open_sink
from endodav.video.sinks import npz

PREDICTION = npz.FORMAT.filename


def predict(estimator: DepthEstimator, video: Video, folder: Path) -> Path:
    """Write the depth of every frame into `folder`, whole or not at all, and return the file.

    Raises:
        InputError: a frame cannot be read.
        WeightsError: the model gives values that are not finite.
        OutputError: the folder cannot be written.
    """
    height, width = next(video.samples(stop=1)).image.shape[:2]
    info = SourceInfo(video.name, height, width, Fraction(DEFAULT_FPS), len(video))
    meta = estimator.meta.with_source(video.name)
    with open_sink(folder, (npz.FORMAT.name,), meta=meta, info=info, overwrite=True) as sink:
        for frame in estimator.run(sample.image for sample in video):
            sink.write(frame)
    return folder / PREDICTION
