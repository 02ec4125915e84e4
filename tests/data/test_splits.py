"""The published splits against their counts, and against the lists themselves where they are."""

from __future__ import annotations

from collections import defaultdict

import pytest

from endodav.data import published_splits


def test_counts():
    splits = published_splits("scared")
    frames = {name: sum(map(len, splits[f"frames-{name}"].values())) for name in ("train", "val")}
    assert frames == {"train": 15351, "val": 1705}
    assert sum(map(len, splits["frames-test"].values())) == 551
    videos = [len(splits[f"videos-{name}"]) for name in ("train", "val", "test")]
    assert videos == [24, 3, 8]
    assert len(published_splits("hamlyn")["videos-test"]) == 21


def test_nothing_is_in_two_splits():
    splits = published_splits("scared")
    for kind in ("frames", "videos"):
        seen = [
            (sequence, number)
            for name in ("train", "val", "test")
            for sequence, numbers in splits[f"{kind}-{name}"].items()
            for number in (numbers or {0})
        ]
        assert len(seen) == len(set(seen))


def test_against_the_published_lists(real_data):
    folder = real_data.parent / "reference" / "splits"
    if not folder.is_dir():
        pytest.skip(f"no lists at {folder}")
    splits = published_splits("scared")
    for name in ("train", "val", "test"):
        listed = defaultdict(set)
        for line in (folder / f"scared_frames_{name}.txt").read_text().splitlines():
            if line.strip():
                sequence, number, _ = line.split()
                listed[sequence].add(int(number))
        assert splits[f"frames-{name}"] == listed
        videos = (folder / f"scared_video_{name}.txt").read_text().split()
        assert set(splits[f"videos-{name}"]) == {line.split("/", 1)[1] for line in videos}
    hamlyn = (folder / "hamlyn_video.txt").read_text().split()
    assert set(published_splits("hamlyn")["videos-test"]) == set(hamlyn)


def test_a_dataset_without_known_splits_has_none():
    assert published_splits("c3vd") == {}
