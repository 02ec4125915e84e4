"""Draws synthetic_gallery.jpg: `python docs/images/synthetic_gallery.py`."""

from pathlib import Path

import numpy as np
from PIL import Image

from endodav.synthetic import FAMILIES, RenderedClip, render_clip

HEIGHT, WIDTH = 112, 140
SAMPLES, FIRST_SEED = 4, 200  # of each family
FAMILIES_A_ROW = 2


def inverse_depth_picture(clip: RenderedClip) -> np.ndarray:
    """Near is bright; unknown is black."""
    inverse = np.where(clip.valid[0], 1 / np.maximum(clip.depth[0], 1e-3), 0)
    low, high = np.quantile(inverse[clip.valid[0]], (0.02, 0.98))
    return (255 * ((inverse - low) / (high - low)).clip(0, 1)).astype(np.uint8)


def main() -> None:
    """Four frames of each family, each with its inverse depth below, two families a row."""
    rows = -(-len(FAMILIES) // FAMILIES_A_ROW)
    sheet = Image.new("RGB", (FAMILIES_A_ROW * SAMPLES * WIDTH, 2 * rows * HEIGHT))
    for number, family in enumerate(FAMILIES):
        row, column = divmod(number, FAMILIES_A_ROW)
        for sample in range(SAMPLES):
            clip = render_clip(FIRST_SEED + sample, 1, HEIGHT, WIDTH, family=family)
            left, top = (column * SAMPLES + sample) * WIDTH, 2 * row * HEIGHT
            sheet.paste(Image.fromarray(clip.images[0]), (left, top))
            sheet.paste(Image.fromarray(inverse_depth_picture(clip)), (left, top + HEIGHT))
    sheet.save(Path(__file__).with_suffix(".jpg"), quality=82)


if __name__ == "__main__":
    main()
