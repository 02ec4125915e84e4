"""What storing a clip does to it: JPEG picture by picture, H.264 over the whole clip."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from jaxtyping import UInt8
from PIL import Image

MACROBLOCK = 16  # H.264 cuts pictures into squares of that many pixels

Clip = UInt8[np.ndarray, "time height width 3"]


def through_jpeg(pictures: Clip, quality: int) -> Clip:
    """The pictures after each was stored as JPEG (1 to 95)."""
    return np.stack([_jpeg(picture, quality) for picture in pictures])


def through_h264(pictures: Clip, rate_factor: int) -> Clip:
    """The pictures after the clip was stored as H.264, 4:2:0.

    Args:
        pictures: any size; the borders are repeated up to whole macroblocks and cut off again.
        rate_factor: of x264 ("crf"), 0 (best) to 51; 23 is usual.
    """
    _, height, width, _ = pictures.shape
    padding = ((0, 0), (0, -height % MACROBLOCK), (0, -width % MACROBLOCK), (0, 0))
    padded = np.pad(pictures, padding, mode="edge")
    encoder = av.CodecContext.create("libx264", "w")
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(encoder, VideoCodecContext)
    assert isinstance(decoder, VideoCodecContext)
    encoder.height, encoder.width = padded.shape[1:3]
    encoder.pix_fmt = "yuv420p"
    encoder.framerate = Fraction(25)
    # more threads would make the bytes depend on the machine
    encoder.thread_count = decoder.thread_count = 1
    encoder.options = {"crf": str(rate_factor), "preset": "superfast"}
    frames = [av.VideoFrame.from_ndarray(picture, format="rgb24") for picture in padded]
    packets = [packet for frame in [*frames, None] for packet in encoder.encode(frame)]
    decoded = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    stored = np.stack([frame.to_ndarray(format="rgb24") for frame in decoded])
    return np.ascontiguousarray(stored[:, :height, :width])


def _jpeg(
    picture: UInt8[np.ndarray, "height width 3"], quality: int
) -> UInt8[np.ndarray, "height width 3"]:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))
