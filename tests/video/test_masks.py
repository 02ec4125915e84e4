"""Regions: files of labels, superpixels, and SAM on a tiny model with random weights."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from endodav.errors import InputError, WeightsError
from endodav.video import masks


def checkerboard() -> np.ndarray:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:20, 30:] = image[20:, :30] = (200, 80, 60)
    return image


def test_labels_come_back(tmp_path: Path) -> None:
    labels = np.arange(300 * 4, dtype=np.int64).reshape(300, 4) * 50
    path = masks.label_path(tmp_path / "new", 7)
    masks.write_labels(path, labels)
    np.testing.assert_array_equal(masks.read_labels(path), labels)
    assert [file.name for file in path.parent.iterdir()] == ["000007.png"]


def test_labels_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with pytest.raises(InputError, match="endodav masks"):
        masks.read_labels(path)
    Image.fromarray(checkerboard()).save(path)
    with pytest.raises(InputError, match="one number a pixel"):
        masks.read_labels(path)


def test_superpixels_follow_edges() -> None:
    pytest.importorskip("skimage")
    image = checkerboard()
    labels = masks.superpixels(image)
    assert labels.min() == 1
    for label in np.unique(labels):
        red = image[labels == label][:, 0] > 0
        assert max(red.mean(), 1 - red.mean()) > 0.9


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("skimage.segmentation", lambda: masks.superpixels(checkerboard())),
        ("transformers", lambda: masks.SegmentAnything("facebook/sam-vit-base")),
    ],
)
def test_a_missing_extra_is_named(
    module: str, call: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"pip install 'endodav\[masks\]'"):
        call()  # type: ignore[operator]


@pytest.fixture
def tiny_sam(tmp_path: Path) -> Path:
    transformers = pytest.importorskip("transformers")
    config = transformers.SamConfig(
        vision_config={
            "hidden_size": 16,
            "output_channels": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 16,
            "mlp_dim": 32,
            "global_attn_indexes": [0],
            "window_size": 2,
            "num_pos_feats": 4,
        },
        prompt_encoder_config={
            "hidden_size": 8,
            "image_size": 64,
            "patch_size": 16,
            "image_embedding_size": 4,
            "mask_input_channels": 4,
        },
        mask_decoder_config={
            "hidden_size": 8,
            "mlp_dim": 16,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    transformers.SamModel(config).save_pretrained(tmp_path / "sam")
    return tmp_path / "sam"


def test_sam_labels_every_pixel_once(tiny_sam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "MIN_QUALITY", -np.inf)  # random weights are never sure
    monkeypatch.setattr(masks, "MIN_STABILITY", -1.0)
    segment = masks.SegmentAnything(str(tiny_sam))
    labels = segment(checkerboard())
    assert labels.shape == (40, 60)
    assert labels.max() > 0
    np.testing.assert_array_equal(segment(checkerboard()), labels)


def test_sam_that_is_sure_of_nothing(tiny_sam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "MIN_QUALITY", np.inf)
    assert not masks.SegmentAnything(str(tiny_sam))(checkerboard()).any()


def test_no_sam_there(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(WeightsError, match="--method slic"):
        masks.SegmentAnything(str(tmp_path))
