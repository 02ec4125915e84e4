"""The golden items of the parts that exist, on the vendored fixtures in `data/`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.golden.__main__ import main
from tests.golden.case import Item
from tests.golden.compare import Comparison, relative_errors
from tests.golden.outside import ITEMS, judged, run_by
from tests.golden.registry import RUNNERS
from tests.golden.run import check_item

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("name", sorted(RUNNERS))
def test_item(name: str) -> None:
    comparisons = list(check_item(Item.read(DATA / f"{name}.json"), RUNNERS[name]))
    assert comparisons
    assert [c for c in comparisons if not c.passed] == []


def test_every_item_is_run() -> None:
    assert {path.stem for path in DATA.glob("*.json")} == RUNNERS.keys()


def test_relative_error() -> None:
    """|got - want| / (|want| + rms(want)); shapes and NaN must agree."""
    want = np.array([3.0, -3.0, np.nan])
    assert relative_errors(np.array([3.0, -2.4, np.nan]), want).max() == pytest.approx(0.1)
    assert np.isinf(relative_errors(np.array([3.0, np.nan, np.nan]), want)).all()
    assert np.isinf(relative_errors(np.zeros(2), want)).all()
    assert relative_errors(np.array([2.0]), np.array([0.0])) == pytest.approx(2.0)


def test_unknown_item_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "99_new.json").write_text('{"cases": []}')
    assert main([str(tmp_path)]) == 1
    assert "FAIL (unknown item)" in capsys.readouterr().out


def test_nothing_to_check_is_not_a_pass(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 2


def test_a_backend_has_its_own_tolerance_where_anything_may_differ() -> None:
    near, exact = Comparison("case", "depth", 0.05, 1e-3), Comparison("case", "ids", 0.05, 0.0)
    assert not judged(near).passed
    with run_by("openvino:bf16"):
        assert judged(near).passed
        assert not judged(exact).passed
    assert RUNNERS.keys() >= set(ITEMS)
