"""`endodav prepare` as a user meets it."""

from __future__ import annotations

import json

from tests.data import samples


def test_prepare_writes_beside_the_originals(endodav, tmp_path):
    samples.make("hamlyn", tmp_path / "hamlyn")
    done = endodav("prepare", "hamlyn", "--root", "hamlyn")
    assert done.code == 0, done.err
    assert "1 sequences, 3 frames" in done.err
    assert "published split videos-test: 1 of 21 sequences" in done.err
    manifest = json.loads((tmp_path / "hamlyn-prepared" / "dataset-manifest.json").read_text())
    assert manifest["splits"]["videos-test"]["sequences"] == 21
    assert len(manifest["splits"]["videos-test"]["missing_sequences"]) == 20


def test_prepare_says_what_is_wrong_and_that_it_is_partial(endodav, tmp_path):
    samples.make("hamlyn", tmp_path / "hamlyn")
    next((tmp_path / "hamlyn").rglob("depth01/0000000002.png")).unlink()
    done = endodav("prepare", "hamlyn", "--root", "hamlyn", "--out", "o", "--json")
    assert done.code == 7
    assert not json.loads(done.out)["complete"]
    assert "endodav: rectified01: 1 frames have no depth file: 0000000002.jpg." in done.err


def test_prepare_of_nothing(endodav, tmp_path):
    (tmp_path / "empty").mkdir()
    done = endodav("prepare", "scared", "--root", "empty")
    assert done.code == 3
    assert "holds no sequence of SCARED" in done.err
    done = endodav("prepare", "moon", "--root", "empty")
    assert done.code == 3
    assert "There is no dataset 'moon'" in done.err
