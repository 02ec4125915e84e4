"""The naive reference gives the depth of the engine, so that their times may be compared."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from endodav.bench.measure import read_clip
from endodav.inference.estimator import DepthEstimator
from endodav.synthetic.demo import PATH

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", BENCHMARKS / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("count", [5, 33, 50])
def test_the_naive_reference_gives_the_depth_of_the_engine(reference, count):
    estimator = DepthEstimator.from_pretrained(
        "endodav-tiny", strategy="vda", input_size=28, device="cpu"
    )
    images = read_clip(PATH, (48, 36))[:count]
    expected = estimator.predict(images)
    found = reference.naive_depth(estimator.loaded.model, estimator.loaded.preset, images, 28)
    assert expected.std() > 0
    np.testing.assert_allclose(found, expected, atol=2e-5 * expected.max())


def test_it_repeats_what_the_engine_keeps(reference):
    assert len(list(reference.windows_of(250))) == 12
    _, second, third = list(reference.windows_of(66))
    assert second == [0, 12, *range(24, 54)]
    assert third == [0, 34, *range(46, 76)]


def test_plain_attention_is_attention_and_goes_away(reference):
    fused = torch.nn.functional.scaled_dot_product_attention
    q, k, v = torch.randn(3, 2, 4, 5, 8).unbind(0)
    expected = fused(q, k, v)
    with reference.plain_attention():
        plain = torch.nn.functional.scaled_dot_product_attention
        assert plain is not fused
        torch.testing.assert_close(plain(q, k, v), expected)
    assert torch.nn.functional.scaled_dot_product_attention is fused
