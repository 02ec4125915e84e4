"""Video files as a source: decoding by PyAV (FFmpeg), exact times, upright RGB, honest about loss.

What is done to the pixels: YUV becomes 8-bit RGB by swscale with the matrix (BT.601, BT.709,
BT.2020, ...) and range (limited or full) that the frame is tagged with; an untagged frame is taken
as FFmpeg and OpenCV do, BT.601 and limited. Deeper samples are rounded to 8 bits, grey is taken as
full range, alpha is dropped. The display matrix (turns by 90 degrees and mirroring) is applied.
Not done: tone mapping of PQ or HLG, deinterlacing, stretching of non-square pixels.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import av.error
import numpy as np
from av.buffer import Buffer
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import UInt8

from endodav.errors import InputError, PartialInputWarning, RecipeError
from endodav.types import Frame, RGBImage, SourceInfo
from endodav.video.timing import Clock, count_frames, is_inside

VIDEO_SUFFIXES = (
    frozenset(  # what is taken for a video in a folder; a file that is named may be any
        {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"}
    )
)
AUTO, NONE = "auto", "none"  # kinds of hardware decoding, besides FFmpeg's names
DEFAULT_RATE = Fraction(25)
SEEK_MARGINS = (1, 10)  # seconds; key frames are rarely farther apart than the last
CUT_OFF_PERIODS = 3  # a file that ends sooner than declared by more than this has been cut off
TEXT_FORMATS = frozenset({"tty"})  # FFmpeg renders text files as video

# FFmpeg's AVColorSpace values that swscale converts (pixfmt.h): RGB, BT.709, unspecified, FCC,
# BT.470BG, SMPTE 170M, SMPTE 240M, BT.2020; it refuses the others.
KNOWN_COLOR_SPACES = frozenset({0, 1, 2, 4, 5, 6, 7, 9})
UNSPECIFIED_COLOR_SPACE = 2

# swscale's fast paths are off by up to 3 levels and differ between CPUs; these flags make it exact.
EXACT = (
    Interpolation.BILINEAR
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
)


@dataclass
class _Tally:
    """What one pass through a file met.

    Attributes:
        read: frames delivered.
        skipped: packets that are damaged.
        flawed: frames delivered although the decoder calls them damaged.
        video_end: latest end of a packet of the video stream, in seconds.
        any_end: the same for all streams.
        exhausted: whether the file was read to its end.
    """

    read: int = 0
    skipped: int = 0
    flawed: int = 0
    video_end: Fraction = Fraction(0)
    any_end: Fraction = Fraction(0)
    exhausted: bool = False


@contextmanager
def _opened(
    path: Path, hardware: str | None = None
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The file and its first moving picture stream, to be decoded by all cores or by hardware."""
    try:
        container = av.open(
            str(path.resolve()),  # absolute, so that a colon in the name is no protocol
            metadata_errors="ignore",
            options={"protocol_whitelist": "file"},  # a playlist must not reach the network
            hwaccel=None if hardware is None else HWAccel(hardware, allow_software_fallback=False),
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as a video; it is of another kind, or its index is missing "
            f"because the recording was cut off ({_reason(error)})."
        ) from error
    with container:
        if container.format.name in TEXT_FORMATS:
            raise InputError(f"{path} is a text file, not a video.")
        moving = (
            stream
            for stream in container.streams.video
            if not stream.disposition & Disposition.attached_pic
        )
        if (stream := next(moving, None)) is None:
            raise InputError(f"{path} holds no video stream, only sound or other data.")
        stream.thread_type = "AUTO"
        yield container, stream


def choose_hardware(path: Path, wanted: str) -> str | None:
    """FFmpeg's name of the hardware that will decode a file; None for the processor.

    Args:
        path: the file; one frame of it is decoded to see.
        wanted: "none"; "auto" for the first hardware that can, if any can; or FFmpeg's name of one.

    Raises:
        RecipeError: the hardware asked for by name is not offered here, or cannot decode the file.
    """
    offered = hwdevices_available()
    if wanted not in (AUTO, NONE, *offered):
        raise RecipeError(
            f"There is no hardware decoding {wanted!r} here; "
            f"choose from {', '.join((AUTO, NONE, *offered))}."
        )
    kinds = {AUTO: offered, NONE: []}.get(wanted, [wanted])
    found = next((kind for kind in kinds if _can_decode(path, kind)), None)
    if found is None and wanted not in (AUTO, NONE):
        raise RecipeError(
            f"This machine cannot decode {path.name} by {wanted}; choose --hwaccel auto or none."
        )
    return found


def _can_decode(path: Path, hardware: str) -> bool:
    try:
        with _opened(path, hardware) as (container, stream):
            used = bool(stream.codec_context.is_hwaccel)
            return used and next(_decode(container, stream, _Tally()), None) is not None
    except (InputError, RuntimeError):  # PyAV's for a stream that the hardware does not know
        return False


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _decode(container: InputContainer, stream: VideoStream, tally: _Tally) -> Iterator[VideoFrame]:
    """Frames in order of presentation; what is damaged is counted and skipped.

    Packets that the demuxer calls damaged are not decoded: FFmpeg's frame threads would lose
    good frames after them, how many depending on the number of cores.
    """
    packets = container.demux()
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            tally.exhausted = True
            return
        except av.error.FFmpegError:
            tally.skipped += 1
            tally.exhausted = True
            return
        time = packet.dts if packet.pts is None else packet.pts
        if time is not None and packet.size:
            end = (time + (packet.duration or 0)) * packet.time_base
            tally.any_end = max(tally.any_end, end)
            if packet.stream_index == stream.index:
                tally.video_end = max(tally.video_end, end)
        if packet.stream_index != stream.index:
            continue
        if packet.is_corrupt:
            tally.skipped += 1
            continue
        try:
            frames = cast(list[VideoFrame], packet.decode())
        except av.error.FFmpegError:
            tally.skipped += 1
            continue
        tally.flawed += sum(frame.is_corrupt for frame in frames)
        yield from frames


class _Timeline:
    """Timestamps in seconds that never run backwards, from what the frames say of theirs.

    A frame without one, or with one before its predecessor's, comes one nominal period after it.
    """

    def __init__(self, time_base: Fraction, period: Fraction) -> None:
        self._time_base = time_base
        self._period = period
        self._latest: Fraction | None = None

    def stamp(self, frame: VideoFrame) -> Fraction:
        if frame.pts is not None:
            time = frame.pts * self._time_base
            if self._latest is None or time >= self._latest:
                self._latest = time
                return time
        self._latest = Fraction(0) if self._latest is None else self._latest + self._period
        return self._latest


@dataclass(frozen=True)
class _Orientation:
    """How stored pixels are turned and mirrored for display; the flips come after the transpose."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def of(cls, frame: VideoFrame) -> _Orientation:
        """From the display matrix [[a, b], [c, d]]: shown at x' = a x + c y, y' = b x + d y.

        Matrices other than quarter turns and mirrorings are ignored. Read once for a file, because
        reading makes a reference cycle that keeps the frame's memory until garbage is collected.
        """
        side_data = cast(Mapping[str, Buffer], frame.side_data)
        if (matrix := side_data.get("DISPLAYMATRIX")) is None:
            return cls()
        (a, b), (c, d) = np.sign(np.frombuffer(bytes(matrix), np.int32).reshape(3, 3)[:2, :2])
        if a == d == 0:
            return cls(True, bool(c < 0), bool(b < 0))
        if b == c == 0:
            return cls(False, bool(a < 0), bool(d < 0))
        return cls()

    def apply(self, image: RGBImage) -> UInt8[np.ndarray, "shown_height shown_width 3"]:
        """The image as it is meant to be seen."""
        turned = image.transpose(1, 0, 2) if self.transpose else image
        return np.ascontiguousarray(
            turned[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]
        )


def _to_rgb(frame: VideoFrame, reformatter: VideoReformatter) -> RGBImage:
    """8-bit RGB by the colour space and range of the frame."""
    if frame.colorspace not in KNOWN_COLOR_SPACES:
        frame.colorspace = UNSPECIFIED_COLOR_SPACE
    rgb = reformatter.reformat(frame, format="rgb24", interpolation=EXACT)
    return cast(RGBImage, rgb.to_ndarray())


def _declared_duration(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Seconds the file says it lasts; None if it does not say."""
    if container.format.name == "avi" and stream.average_rate:
        return stream.frames / stream.average_rate  # FFmpeg shortens its duration if it is cut off
    if stream.duration is not None and stream.time_base is not None:
        return stream.duration * stream.time_base
    return None if container.duration is None else Fraction(container.duration, av.time_base)


class VideoFile:
    """A video file, decoded lazily; every pass opens the file anew.

    Frames are delivered at their own size: if it changes in mid-stream, so do the frames, and
    `info` describes the first.

    Args:
        path: any container and codec that FFmpeg reads.
        hwaccel: which hardware decodes, see `choose_hardware`.

    Raises:
        InputError: the file is empty, not a video, or not one frame of it can be decoded.
        RecipeError: the hardware asked for cannot decode it.
    """

    def __init__(self, path: Path, hwaccel: str = NONE) -> None:
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes); the recording or copy has failed.")
        self._path = path
        self.loss: str | None = None
        with _opened(path) as (container, stream):
            first = next(_decode(container, stream, _Tally()), None)
            if first is None:
                raise InputError(f"Not one frame of {path} can be decoded; the file is damaged.")
            rate = stream.average_rate or stream.guessed_rate or DEFAULT_RATE
            self._time_base = stream.time_base or 1 / rate
            begin = _Timeline(self._time_base, 1 / rate).stamp(first)
            rounding = Fraction(0) if (1 / rate) % self._time_base == 0 else self._time_base
            self.clock = Clock(begin, 1 / rate, rounding)
            self._seekable = first.pts is not None
            self._duration = _declared_duration(container, stream)
            self._has_own_duration = stream.duration is not None
            count = stream.frames or None
            if count is None and self._duration is not None:
                absolute = Fraction(0) if self._has_own_duration else begin
                count = max(round((self._duration - absolute) * rate), 1)
            self._orientation = _Orientation.of(first)
            height, width = first.height, first.width
            if self._orientation.transpose:
                height, width = width, height
        self.info = SourceInfo(path.name, height, width, rate, count)
        self._hardware = choose_hardware(path, hwaccel)

    def frames(self, start: Fraction | None = None, end: Fraction | None = None) -> Iterator[Frame]:
        """Frames with start <= timestamp < end, from the nearest key frame on.

        Afterwards `loss` says in one sentence what could not be read, None if nothing was lost.

        Warns:
            PartialInputWarning: the file is damaged or cut off; says how much was delivered.
        """
        self.loss = None
        tally = _Tally()
        timeline = _Timeline(self._time_base, self.clock.period)
        reformatter = VideoReformatter()
        target = None if start is None else self._seek_target(start)
        with _opened(self._path, self._hardware) as (container, stream):
            if target is not None:
                container.seek(target, stream=stream)
            for decoded in _decode(container, stream, tally):
                time = timeline.stamp(decoded)
                if end is not None and time >= end:
                    break
                if is_inside(time, start, end):
                    image = self._orientation.apply(_to_rgb(decoded, reformatter))
                    yield Frame(image, time, tally.read)
                    tally.read += 1
        self.loss = self._describe_loss(tally, start, end)
        if self.loss is not None:
            warnings.warn(self.loss, PartialInputWarning, stacklevel=2)

    def _seek_target(self, start: Fraction) -> int | None:
        """Where to seek so that decoding begins at or before `start`; None for the beginning.

        FFmpeg seeks by decoding time or to a key frame that may be presented after the wanted time,
        so each try is checked by decoding one frame.
        """
        if not self._seekable:
            return None
        with _opened(self._path) as (container, stream):
            for margin in SEEK_MARGINS:
                if start - margin <= self.clock.begin:
                    break
                target = int((start - margin) / self._time_base)
                try:
                    container.seek(target, stream=stream)
                except av.error.FFmpegError:
                    break
                landed = next(_decode(container, stream, _Tally()), None)
                if landed and landed.pts is not None and landed.pts * self._time_base <= start:
                    return target
        return None

    def _describe_loss(
        self, tally: _Tally, start: Fraction | None, end: Fraction | None
    ) -> str | None:
        reached = tally.video_end if self._has_own_duration else tally.any_end
        slack = CUT_OFF_PERIODS * self.clock.period
        flaws = []
        if tally.exhausted and reached > 0 and self._duration is not None:
            wanted = self._duration if end is None else min(end, self._duration)
            if wanted - reached > slack:
                flaws.append(f"it stops at {float(reached):.2f} s of {float(self._duration):.2f} s")
        if tally.skipped:
            flaws.append(f"damaged packets were skipped ({tally.skipped})")
        if tally.flawed:
            flaws.append(f"some frames are damaged ({tally.flawed})")
        if not flaws:
            return None
        total = self.info.frame_count
        expected = count_frames(total, self.clock, start, end) if total else "an unknown number of"
        return (
            f"{self._path} could be read only in part: {' and '.join(flaws)}; "
            f"{tally.read} of about {expected} frames were delivered."
        )
