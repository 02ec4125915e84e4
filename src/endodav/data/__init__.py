"""Datasets: any published layout as sequences of frames with ground truth, read one at a time."""

from endodav.data.dataset import Clip, Dataset
from endodav.data.registry import DATASETS, find_dataset, open_dataset
from endodav.data.sequence import Distortion, Flag, FrameRef, Sample, Sequence
from endodav.data.splits import published_splits

__all__ = [
    "DATASETS",
    "Clip",
    "Dataset",
    "Distortion",
    "Flag",
    "FrameRef",
    "Sample",
    "Sequence",
    "find_dataset",
    "open_dataset",
    "published_splits",
]
