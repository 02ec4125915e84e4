"""Every dataset by name; a new one is a module and a line here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from endodav.data import (
    c3vd,
    colmap,
    endonerf,
    folder,
    hamlyn,
    irs,
    kitti,
    nyuv2,
    pointodyssey,
    scannet,
    scared,
    servct,
    simcol3d,
    sintel,
    stereomis,
    tartanair,
    tum,
    vkitti,
)
from endodav.data.dataset import Dataset
from endodav.data.files import read_json
from endodav.data.sequence import Sequence
from endodav.errors import InputError

MANIFEST = "dataset-manifest.json"  # what `endodav prepare` leaves in its output folder

DATASETS: Mapping[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        scared.DATASET,
        hamlyn.DATASET,
        c3vd.DATASET,
        servct.DATASET,
        endonerf.DATASET,
        simcol3d.DATASET,
        stereomis.DATASET,
        folder.RENDERED,
        folder.FOLDER,
        colmap.DATASET,
        tum.TUM,
        tum.BONN,
        kitti.DATASET,
        scannet.DATASET,
        nyuv2.DATASET,
        sintel.DATASET,
        tartanair.DATASET,
        vkitti.DATASET,
        pointodyssey.DATASET,
        irs.DATASET,
    )
}


def find_dataset(name: str) -> Dataset:
    """A dataset by name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in DATASETS:
        raise InputError(f"There is no dataset {name!r}; choose one of {', '.join(DATASETS)}.")
    return DATASETS[name]


def open_dataset(name: str, root: Path) -> Iterator[Sequence]:
    """The sequences of a dataset, each opened when it is asked for.

    Args:
        name: in `DATASETS`.
        root: its folder, or the output folder of `endodav prepare`.

    Raises:
        InputError: there is no such dataset, no sequence of it, or a sequence lacks a file.
    """
    return find_dataset(name).sequences(data_root(root))


def data_root(root: Path) -> Path:
    """Where the data are: what a manifest in `root` says, else `root` itself."""
    manifest = root / MANIFEST
    return Path(read_json(manifest)["data"]) if manifest.exists() else root
