"""16-bit grey FFV1 in Matroska: lossless codes, see `endodav.video.quantise` for what they mean.

Matroska keeps time in milliseconds; the exact timestamps are in the metadata.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av

from endodav.types import DepthFrame, DepthMap
from endodav.video import quantise
from endodav.video.sinks import container
from endodav.video.sinks.format import Format, Record, Run, Writer, describe_run

CODING = container.Coding(
    container="matroska",
    codec="ffv1",
    pixel_format="gray16le",
    codec_options={"level": "3", "slicecrc": "1"},  # version 3 notices damage, slice by slice
)


class Ffv1Writer(Writer):
    """Codes as they are, and the full scale of every segment in the metadata."""

    def __init__(self, path: Path, run: Run) -> None:
        self._run = run
        self._quantiser = quantise.Quantiser()
        self._encoder = container.StreamEncoder(path, CODING, *run.size, run.info.fps)

    def write(self, frame: DepthFrame) -> None:
        """Encode the codes of one frame."""
        codes = self._quantiser.encode(frame.values)
        picture = av.VideoFrame.from_ndarray(codes, format=CODING.pixel_format)
        self._encoder.encode(picture, frame.timestamp)

    def finish(self, record: Record) -> None:
        """Add the description, full scales included."""
        encoding = {"scheme": quantise.SCHEME, "full_scale": self._quantiser.segments}
        self._encoder.finish(describe_run(FORMAT.name, self._run, record, encoding=encoding))

    def close(self) -> None:
        """Release the encoder."""
        self._encoder.close()


def read_depth(path: Path) -> Iterator[DepthMap]:
    """Depth maps one at a time."""
    full_scales = dict(container.read_meta(path)["encoding"]["full_scale"])
    full_scale = 0.0
    for number, frame in enumerate(container.read_frames(path)):
        full_scale = full_scales.get(number, full_scale)
        yield quantise.decode(frame.to_ndarray(format=CODING.pixel_format), full_scale)


FORMAT = Format(
    name="ffv1",
    filename="depth.mkv",
    suffix=".mkv",
    fixed_size=True,
    coloured=False,
    writer=Ffv1Writer,
    read_meta=container.read_meta,
    read_depth=read_depth,
)
