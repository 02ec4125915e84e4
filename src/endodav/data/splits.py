"""Published splits as data: which sequences, and of those which frames, belong to what."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

Split = Mapping[str, frozenset[int] | None]
"""Sequences by name, with the numbers of their pictures; None stands for all."""

# AF-SfMLearner's and EndoDAC's 15351/1705/551 frames; EndoDAV's 24/3/8 videos.
_SCARED_FRAMES = "scared_frames.txt"
_SCARED_VAL = ("dataset5/keyframe1", "dataset3/keyframe3", "dataset4/keyframe3")
_SCARED_UNUSED = ("dataset1/keyframe4",)
# The 21 rectified Hamlyn videos.
_HAMLYN = (1, 4, 5, 6, 9, 11, 12, *range(14, 28))


def published_splits(dataset: str) -> dict[str, Split]:
    """The splits of a dataset by name; empty where none is known."""
    if dataset == "scared":
        return _scared_frames() | _scared_videos()
    if dataset == "hamlyn":
        return {"videos-test": {f"rectified{number:02d}": None for number in _HAMLYN}}
    return {}


def _scared_videos() -> dict[str, Split]:
    early = [f"dataset{d}/keyframe{k}" for d in range(1, 8) for k in range(1, 5)]
    train = [name for name in early if name not in _SCARED_VAL + _SCARED_UNUSED]
    test = [f"dataset{d}/keyframe{k}" for d in (8, 9) for k in range(4)]
    return {
        "videos-train": dict.fromkeys(train),
        "videos-val": dict.fromkeys(_SCARED_VAL),
        "videos-test": dict.fromkeys(test),
    }


def _scared_frames() -> dict[str, Split]:
    splits: dict[str, dict[str, frozenset[int] | None]] = {}
    text = files("endodav.data").joinpath("splits", _SCARED_FRAMES).read_text()
    for line in text.splitlines():
        if not line.startswith("#"):
            split, name, ranges = line.split()
            splits.setdefault(f"frames-{split}", {})[name] = _numbers(ranges)
    return dict(splits)


def _numbers(ranges: str) -> frozenset[int]:
    """Of "2-4,7": 2, 3, 4 and 7."""
    numbers: set[int] = set()
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)
