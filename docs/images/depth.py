"""Draws depth.jpg for the README: `python docs/images/depth.py`."""

from pathlib import Path

import numpy as np
from PIL import Image

from endodav import DepthEstimator, Kind
from endodav.synthetic import render_clip
from endodav.training.data import HELD_OUT_SEED
from endodav.video.colormap import fit_colour_scale

HEIGHT, WIDTH, FRAMES = 192, 240, 8
CLIPS = (("colon", 20), ("stomach", 25), ("laparoscopy", 21), ("airway", 29))


def main() -> None:
    """Render, estimate, and put frames above depth."""
    estimator = DepthEstimator.from_pretrained("endodav-tiny")
    columns = []
    for family, seed in CLIPS:
        images = render_clip(HELD_OUT_SEED + seed, FRAMES, HEIGHT, WIDTH, family=family).images
        depth = estimator.predict(images)
        scale = fit_colour_scale(list(depth), Kind.INVERSE_DEPTH, "inferno")
        columns.append(np.concatenate([images[-1], scale.paint(depth[-1])]))
    path = Path(__file__).with_name("depth.jpg")
    Image.fromarray(np.concatenate(columns, axis=1)).save(path, quality=85)
    print(path)


if __name__ == "__main__":
    main()
