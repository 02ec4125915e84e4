"""Video files: encode one stream, then copy it into a file whose metadata is complete.

Containers write their metadata before the first frame, but range and timestamps are known after
the last. So frames are encoded into a scratch file, whose packets are then copied without loss
behind the finished metadata, one packet at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.video.reformatter import ColorRange, Colorspace

TICKS_PER_SECOND = 5_760_000
"""A multiple of the usual time scales: 90000, 60000, 30000, 24000, 15360, 12800 and 1000."""

META_KEY = "comment"  # the one tag that MP4 and Matroska both keep and every tool shows


@dataclass(frozen=True)
class Coding:
    """How a stream is encoded: container, codec, pixel format and their options."""

    container: str
    codec: str
    pixel_format: str
    codec_options: Mapping[str, str] = field(default_factory=dict)
    container_options: Mapping[str, str] = field(default_factory=dict)


class StreamEncoder:
    """Encodes frames at their own timestamps, then writes `path` with the metadata of the whole."""

    def __init__(self, path: Path, coding: Coding, height: int, width: int, fps: Fraction) -> None:
        self._path = path
        self._coding = coding
        self._scratch = path.with_name(f"encoding-{path.name}")
        self._container = av.open(
            str(self._scratch), "w", format=coding.container, options=dict(coding.container_options)
        )
        stream = self._container.add_stream(
            coding.codec, rate=fps, options=dict(coding.codec_options)
        )
        assert isinstance(stream, av.VideoStream)
        self._stream = stream
        self._stream.height, self._stream.width = height, width
        self._stream.pix_fmt = coding.pixel_format
        self._stream.codec_context.time_base = Fraction(1, TICKS_PER_SECOND)
        if coding.pixel_format == "yuv420p":
            self._tag_bt709()
        self._last_tick: int | None = None

    def encode(self, frame: av.VideoFrame, timestamp: Fraction) -> None:
        """Append a frame at the tick nearest to its time; equal times become neighbouring ticks."""
        tick = round(timestamp * TICKS_PER_SECOND)
        if self._last_tick is not None:
            tick = max(tick, self._last_tick + 1)
        self._last_tick = frame.pts = tick
        frame.time_base = Fraction(1, TICKS_PER_SECOND)
        self._container.mux(self._stream.encode(frame))

    def finish(self, meta: str) -> None:
        """Drain the encoder and put the finished file in place of the scratch file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        self._copy_with_metadata(meta)
        self._scratch.unlink()

    def close(self) -> None:
        """Release the scratch file."""
        self._container.close()

    def _copy_with_metadata(self, meta: str) -> None:
        options = dict(self._coding.container_options)
        with (
            av.open(str(self._scratch)) as scratch,
            av.open(str(self._path), "w", format=self._coding.container, options=options) as final,
        ):
            source = scratch.streams.video[0]
            target = final.add_stream_from_template(source)
            target.time_base = source.time_base
            final.metadata[META_KEY] = meta
            for packet in scratch.demux(source):
                if packet.dts is not None:  # the last, empty packet only says that the file ended
                    packet.stream = target
                    final.mux(packet)

    def _tag_bt709(self) -> None:
        """Say that the samples are BT.709, limited range, so that no player has to guess."""
        context = self._stream.codec_context
        context.color_primaries = context.color_trc = 1  # ITU-T H.273: 1 is BT.709
        context.colorspace = Colorspace.ITU709
        context.color_range = ColorRange.MPEG


def read_meta(path: Path) -> dict[str, Any]:
    """The self-description of a video of ours; Matroska writes its keys in capitals."""
    with av.open(str(path)) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
    meta: dict[str, Any] = json.loads(tags[META_KEY])
    return meta


def read_frames(path: Path) -> Iterator[av.VideoFrame]:
    """Decoded frames in order."""
    with av.open(str(path)) as container:
        yield from container.decode(video=0)
