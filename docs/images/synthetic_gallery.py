"""Draws synthetic_gallery.jpg: `python docs/images/synthetic_gallery.py`."""

from pathlib import Path

import numpy as np
from PIL import Image

from endodav.synthetic import RenderedClip, render_clip

HEIGHT, WIDTH, COLUMNS = 112, 140, 8
ROWS = (("lumen", 200), ("lumen", 208), ("cavity", 100), ("cavity", 108))


def inverse_depth_picture(clip: RenderedClip) -> np.ndarray:
    """Near is bright; unknown is black."""
    inverse = np.where(clip.valid[0], 1 / np.maximum(clip.depth[0], 1e-3), 0)
    low, high = np.quantile(inverse[clip.valid[0]], (0.02, 0.98))
    return (255 * ((inverse - low) / (high - low)).clip(0, 1)).astype(np.uint8)


def main() -> None:
    """Rows of frames, each with its inverse depth below."""
    sheet = Image.new("RGB", (COLUMNS * WIDTH, 2 * len(ROWS) * HEIGHT))
    for row, (family, first_seed) in enumerate(ROWS):
        for column in range(COLUMNS):
            clip = render_clip(first_seed + column, 1, HEIGHT, WIDTH, family=family)
            corner = (column * WIDTH, 2 * row * HEIGHT)
            sheet.paste(Image.fromarray(clip.images[0]), corner)
            depth = Image.fromarray(inverse_depth_picture(clip))
            sheet.paste(depth, (corner[0], corner[1] + HEIGHT))
    sheet.save(Path(__file__).with_suffix(".jpg"), quality=82)


if __name__ == "__main__":
    main()
