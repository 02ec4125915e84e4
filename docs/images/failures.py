"""Draws failures.jpg for the model page: `python docs/images/failures.py BENCHMARK`.

BENCHMARK is a folder that `endodav render benchmark` wrote. Columns: frame, true inverse depth,
estimate; rows: the videos with the largest errors.
"""

import sys
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from endodav import DepthEstimator, Kind
from endodav.data.registry import find_dataset
from endodav.video.colormap import fit_colour_scale

VIDEOS, FRAMES = ("airway_1", "airway_2", "colon_2", "stomach_2"), 32


def main() -> None:
    """Estimate, and put frame, truth and estimate side by side."""
    estimator = DepthEstimator.from_pretrained("endodav-tiny")
    rows = []
    for video in find_dataset("rendered").sequences(Path(sys.argv[1])):
        if Path(video.name).name not in VIDEOS:
            continue
        samples = list(islice(video, FRAMES))
        depth = estimator.predict(np.stack([sample.image for sample in samples]))
        last = samples[-1]
        assert last.depth is not None
        true = np.divide(1, last.depth, out=np.zeros_like(last.depth), where=last.depth > 0)
        painted = [
            fit_colour_scale([values], Kind.INVERSE_DEPTH, "inferno").paint(values)
            for values in (true.astype(np.float32), depth[-1])
        ]
        rows.append(np.concatenate([last.image, *painted], axis=1))
    path = Path(__file__).with_name("failures.jpg")
    Image.fromarray(np.concatenate(rows)).save(path, quality=85)
    print(path)


if __name__ == "__main__":
    main()
