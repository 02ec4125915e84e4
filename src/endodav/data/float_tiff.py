"""Float TIFF with three channels, which Pillow cannot write; FFmpeg (PyAV) reads it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from jaxtyping import Float32

SHORT, LONG = 3, 4  # field types, TIFF 6.0, section 2
ENTRIES = 11


def write_float_tiff(path: Path, values: Float32[np.ndarray, "height width 3"]) -> None:
    """One uncompressed strip of IEEE floats, red, green and blue interleaved (TIFF 6.0)."""
    height, width, channels = values.shape
    after_header = 8 + 2 + 12 * ENTRIES + 4
    bits, formats, pixels = after_header, after_header + 6, after_header + 12
    fields = [
        (256, LONG, 1, width),
        (257, LONG, 1, height),
        (258, SHORT, channels, bits),  # bits per sample
        (259, SHORT, 1, 1),  # no compression
        (262, SHORT, 1, 2),  # RGB
        (273, LONG, 1, pixels),  # where the strip begins
        (277, SHORT, 1, channels),
        (278, LONG, 1, height),  # rows per strip
        (279, LONG, 1, values.size * 4),
        (284, SHORT, 1, 1),  # interleaved
        (339, SHORT, channels, formats),  # sample format
    ]
    header = struct.pack("<2sHIH", b"II", 42, 8, ENTRIES)
    header += b"".join(struct.pack("<HHII", *field) for field in fields) + struct.pack("<I", 0)
    header += struct.pack("<3H", 32, 32, 32) + struct.pack("<3H", 3, 3, 3)
    path.write_bytes(header + values.astype("<f4").tobytes())
