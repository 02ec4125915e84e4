"""`endodav eval` and `endodav compare` as a user meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from endodav.cli.evaluate import open_videos
from endodav.data.dataset import Clip
from endodav.data.folder import FOLDER


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    poses = np.tile(np.eye(4), (3, 1, 1))
    for k in range(2):
        depth = rng.uniform(20, 60, (3, 12, 16)).astype(np.float32)
        images = rng.integers(0, 255, (3, 12, 16, 3), dtype=np.uint8)
        K = np.array([[16.0, 0, 8], [0, 16, 6], [0, 0, 1]])
        assert FOLDER.write is not None
        FOLDER.write(Clip(images, depth, poses, K), tmp_path / "data", k)
        np.savez(tmp_path / f"p{k}.npz", depth=1.3 * depth)
        np.savez(tmp_path / f"q{k}.npz", depth=depth * rng.uniform(0.5, 1.5, depth.shape))
    return tmp_path / "data"


def scored(endodav: Callable[..., object], data: Path, name: str) -> Path:
    folder = data.parent
    files = [x for k in range(2) for x in ("--pred", folder / f"{name}{k}.npz")]
    done = endodav("eval", *files, "--gt", f"folder={data}", "--kind", "depth", "--out", name)
    assert done.code == 0, done.err
    for said in ("endodac", "metric", "0.001..150", "95 % bootstrap", "seeds", "weights"):
        assert said in done.out
    return folder / name


def test_predictions_are_scored_and_compared(endodav: Callable[..., object], data: Path) -> None:
    good, bad = scored(endodav, data, "p"), scored(endodav, data, "q")
    report = json.loads((good / "report.json").read_text())
    by_name = {one["protocol"]: one["metrics"]["abs_rel"] for one in report["results"]}
    assert by_name["endodac"]["mean"] == pytest.approx(0, abs=1e-3)
    assert by_name["metric"]["mean"] == pytest.approx(0.3, abs=1e-3)
    assert (good / "report.html").read_text().startswith("<!doctype html>")
    done = endodav("compare", good, bad)
    assert (done.code, "worse" in done.out) == (0, True)
    assert "no significant difference" in endodav("compare", good, good).out


@pytest.mark.parametrize(("typical", "limits"), [(60, None), (500, (200, 30_000))])
def test_the_range_follows_from_the_first_depth_where_the_layout_names_none(
    tmp_path: Path, typical: float, limits: tuple[float, float] | None
) -> None:
    depth = np.full((2, 6, 8), typical, np.float32)
    clip = Clip(np.zeros((2, 6, 8, 3), np.uint8), depth, np.tile(np.eye(4), (2, 1, 1)), np.eye(3))
    assert FOLDER.write is not None
    FOLDER.write(clip, tmp_path / "data", 0)
    assert open_videos(f"folder={tmp_path / 'data'}", "*")[1] == limits


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--pred", "p0.npz"), 6, "Give --data with --model"),
        (("--pred", "p0.npz", "--gt", "folder=data", "--kind", "depth"), 3, "1 predictions for 2"),
        (("--pred", "p0.npz", "--pred", "p1.npz", "--gt", "folder=data"), 3, "--kind"),
        (("--data", "x=data", "--model", "endodav-tiny"), 3, "no dataset 'x'"),
        (("--pred", "no", "--pred", "no", "--gt", "folder=data"), 3, "no prediction no"),
    ],
)
def test_wrong_usage_is_one_sentence(
    endodav: Callable[..., object], data: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = endodav("eval", *arguments)
    assert done.code == code
    assert said in done.err
    assert "Traceback" not in done.err
