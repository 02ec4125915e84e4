"""Preview: H.264 MP4 of the source beside its coloured depth, or of the depth alone. Not data."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from jaxtyping import UInt8
from PIL import Image

from endodav.types import DepthFrame, RGBImage
from endodav.video.sinks import container
from endodav.video.sinks.format import (
    Format,
    Record,
    Run,
    Writer,
    describe_colours,
    describe_run,
)

CODING = container.Coding(
    container="mp4",
    codec="libx264",
    pixel_format="yuv420p",  # the only one that every browser and player shows
    codec_options={"preset": "veryfast", "crf": "18"},
    container_options={"video_track_timescale": str(container.TICKS_PER_SECOND)},
)


class Mp4Writer(Writer):
    """Colours of one fixed range, at the source's own timestamps."""

    def __init__(self, path: Path, run: Run) -> None:
        self._run = run
        height, width = run.size
        columns = 2 * width if run.layout == "side-by-side" else width
        self._to_yuv = VideoReformatter()  # one for all frames, whose tables take long to set up
        self._encoder = container.StreamEncoder(
            path, CODING, height + height % 2, columns + columns % 2, run.info.fps
        )

    def write(self, frame: DepthFrame) -> None:
        """Encode the picture of one frame."""
        picture = self._run.colours.paint(frame.values)
        if self._run.layout == "side-by-side":
            picture = np.concatenate([_resize(frame.image, self._run.size), picture], axis=1)
        rgb = av.VideoFrame.from_ndarray(_pad_to_even(picture), format="rgb24")
        encoded = self._to_yuv.reformat(
            rgb,
            format=CODING.pixel_format,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        self._encoder.encode(encoded, frame.timestamp)

    def finish(self, record: Record) -> None:
        """Add the description."""
        preview = describe_colours(self._run.colours) | {
            "layout": self._run.layout,
            "share_outside": record.share_outside,
        }
        self._encoder.finish(describe_run(FORMAT.name, self._run, record, preview=preview))

    def close(self) -> None:
        """Release the encoder."""
        self._encoder.close()


def _resize(
    image: UInt8[np.ndarray, "image_height image_width 3"], size: tuple[int, int]
) -> RGBImage:
    """The source frame at the size of its depth, [height, width]."""
    if image.shape[:2] == size:
        return image
    height, width = size
    # The gap lets Pillow average whole blocks of pixels first, in half the time.
    small = Image.fromarray(image).resize(
        (width, height), Image.Resampling.BILINEAR, reducing_gap=1.0
    )
    return np.asarray(small)


def _pad_to_even(picture: RGBImage) -> UInt8[np.ndarray, "even_height even_width 3"]:
    """Repeat the last row or column where a size is odd: 4:2:0 chroma needs even ones."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


FORMAT = Format(
    name="video",
    filename="depth.mp4",
    suffix=".mp4",
    fixed_size=True,
    coloured=True,
    writer=Mp4Writer,
    read_meta=container.read_meta,
    read_depth=None,
)
