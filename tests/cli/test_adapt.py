"""`endodav adapt` and `endodav masks` from the command line."""

import numpy as np
import pytest
from PIL import Image

from endodav.synthetic import render_clip, write_video


@pytest.fixture
def footage(tmp_path):
    folder = tmp_path / "footage"
    folder.mkdir()
    write_video(render_clip(2, 20, 64, 80, family="colon").images, folder / "a.mp4", 25.0)
    return folder


def test_a_dry_run_says_what_would_train(endodav, footage, tmp_path):
    done = endodav("adapt", footage, "--out", "run", "--base", "endodav-tiny", "--dry-run")
    assert done.code == 0, done.err
    assert "a.mp4: 20 frames, 0 cuts" in done.err
    assert "scalars" in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--roi", "oval:1,2"), "oval"), (("--recipe", "nothing"), "endoufm")],
)
def test_what_cannot_be_is_one_sentence(endodav, footage, options, said):
    done = endodav("adapt", footage, "--out", "run", "--dry-run", *options)
    assert done.code == 6
    assert said in done.err


def test_no_footage_is_one_sentence(endodav, tmp_path):
    done = endodav("adapt", tmp_path / "none", "--out", "run", "--dry-run")
    assert done.code == 3
    assert "none" in done.err


def test_masks_are_label_images(endodav, footage, tmp_path):
    pytest.importorskip("skimage")
    done = endodav("masks", footage / "a.mp4", "--out", "labels", "--max-frames", 2, "--quiet")
    assert done.code == 0, done.err
    labels = sorted((tmp_path / "labels").iterdir())
    assert len(labels) == 2
    assert len(np.unique(np.asarray(Image.open(labels[0])))) > 1
