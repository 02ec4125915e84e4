"""Strategies and other candidates on videos with truth: scored once, compared, kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from endodav.data.dataset import Clip
from endodav.data.folder import FOLDER
from endodav.data.registry import open_dataset
from endodav.data.sequence import Sequence as Video
from endodav.errors import InputError, RecipeError
from endodav.evaluation import candidates, papers, runner
from endodav.evaluation.candidates import (
    Candidate,
    as_row,
    errors_of,
    score_candidates,
    shortened,
)
from endodav.evaluation.protocols import PROTOCOLS, EvalFrame
from endodav.evaluation.scoring import true_tae
from endodav.evaluation.strategies import Setting, default_settings, strategy_table
from endodav.inference.estimator import DepthEstimator
from endodav.types import Kind
from endodav.weights.hub import load

SIZE = (28, 36)


def approach(seed: int, frames: int, start: float = 60.0) -> Clip:
    """A textured wall with a step that the camera comes nearer to, 1 mm a frame."""
    rng = np.random.default_rng(seed)
    relief = np.where(np.arange(SIZE[1]) < SIZE[1] // 2, 0.0, 15.0)[None, None]
    time = np.arange(frames)[:, None, None]
    depth = (start + relief - time) * np.ones((1, SIZE[0], 1))
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, 2, 3] = np.arange(frames)
    shade = 255 * (start - frames) ** 2 / depth**2
    images = shade[..., None] * rng.uniform(0.7, 1.0, (1, *SIZE, 3))
    K = np.array([[30.0, 0, SIZE[1] / 2], [0, 30.0, SIZE[0] / 2], [0, 0, 1]])
    return Clip(images.astype(np.uint8), depth.astype(np.float32), poses, K)


@pytest.fixture
def videos(tmp_path: Path) -> list[Video]:
    """Two videos of 7 frames on disk."""
    write = FOLDER.write
    assert write is not None
    for number in range(2):
        write(approach(number, frames=7), tmp_path / "data", number)
    return list(open_dataset("folder", tmp_path / "data"))


def tiny(**options: object) -> DepthEstimator:
    return DepthEstimator.from_pretrained("endodav-tiny", input_size=28, **options)


def ignore(_: str) -> None:
    pass


@pytest.mark.parametrize("text", ["vda/16", "endodav/32", "independent/8", "streaming"])
def test_a_setting_is_what_its_name_says(text: str) -> None:
    assert str(Setting.parse(text)) == text


def test_windows_have_32_frames_where_nothing_is_said() -> None:
    assert str(Setting.parse("overlap-blend")) == "overlap-blend/32"


@pytest.mark.parametrize("text", ["vdaa", "vda/many", "streaming/8", "frame-by-frame/1", ""])
def test_an_impossible_setting_is_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        Setting.parse(text)


def test_all_strategies_and_sizes_are_compared_by_default() -> None:
    names = [str(setting) for setting in default_settings()]
    assert len(set(names)) == len(names) == 12
    assert {"frame-by-frame", "streaming", "vda/16", "vda/32", "independent/32"} <= set(names)


def test_the_truth_scores_perfectly_and_is_consistent(videos: list[Video]) -> None:
    clip = [EvalFrame(1 / s.depth, s.depth, s.valid) for s in videos[0]]
    errors = errors_of(clip, Kind.INVERSE_DEPTH, videos[0], PROTOCOLS["vda"])
    assert errors["abs_rel"] == pytest.approx(0, abs=1e-4)
    assert errors["delta1"] == 1
    assert errors["tae"] == pytest.approx(true_tae(videos[0]), abs=0.01)


def test_without_poses_there_is_no_consistency_to_measure(
    videos: list[Video], tmp_path: Path
) -> None:
    for path in tmp_path.glob("data/*/poses.txt"):
        path.unlink()
    blind = next(open_dataset("folder", tmp_path / "data"))
    clip = [EvalFrame(1 / s.depth, s.depth, s.valid) for s in blind]
    assert "tae" not in errors_of(clip, Kind.INVERSE_DEPTH, blind, PROTOCOLS["vda"])


def test_what_has_been_scored_is_not_computed_again(
    videos: list[Video], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted = counted(monkeypatch, runner, "predict")
    scored = counted(monkeypatch, candidates, "evaluate_video")

    def run(protocol: str, chosen: list[Video], **options: object) -> tuple[int, int]:
        predicted.clear()
        scored.clear()
        one = Candidate("one", lambda: tiny(**options))
        score_candidates([one], chosen, PROTOCOLS[protocol], tmp_path / "work", ignore)
        return len(predicted), len(scored)

    assert run("vda", videos) == (2, 2)
    assert run("vda", videos) == (0, 0)
    assert run("endodav", videos) == (0, 2)
    assert run("endodav", [shortened(video, 5) for video in videos]) == (2, 2)
    assert run("endodav", videos, strategy="independent") == (2, 2)


def counted(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[object]:
    """Calls of a function of a module from now on."""
    calls: list[object] = []
    original: Callable[..., object] = getattr(module, name)

    def call(*arguments: object, **options: object) -> object:
        calls.append(arguments)
        return original(*arguments, **options)

    monkeypatch.setattr(module, name, call)
    return calls


def test_the_stored_scores_are_those_of_the_prediction(videos: list[Video], tmp_path: Path) -> None:
    candidate = Candidate("one", tiny)
    stored = score_candidates([candidate], videos, PROTOCOLS["vda"], tmp_path / "work", ignore)
    depth = tiny().predict(sample.image for sample in videos[1])
    clip = [EvalFrame(d, s.depth, s.valid) for d, s in zip(depth, videos[1], strict=True)]
    expected = errors_of(clip, Kind.INVERSE_DEPTH, videos[1], PROTOCOLS["vda"])
    assert stored["one"][0][1] == pytest.approx(expected | {"weights": tiny().meta.weights_sha256})


def test_a_strategy_table_has_a_row_a_setting_and_a_verdict(
    videos: list[Video], tmp_path: Path
) -> None:
    settings = [Setting.parse(t) for t in ("frame-by-frame", "streaming", "vda/6", "independent")]
    table = strategy_table(load("endodav-tiny"), videos, settings, tmp_path, ignore, input_size=28)
    assert table.names == ["frame-by-frame", "streaming", "vda/6", "independent/32"]
    assert table.metrics == ["abs_rel", "delta1", "tae"]
    assert table.baseline == "independent/32"
    assert any("truth itself has a TAE" in sentence for sentence in table.findings())
    alone = table.row("frame-by-frame").scores["abs_rel"]
    assert not np.allclose(alone, table.row("independent/32").scores["abs_rel"])


def test_an_impossible_window_is_told_before_anything_is_computed(
    videos: list[Video], tmp_path: Path
) -> None:
    settings = [Setting.parse("vda/8"), Setting.parse("vda/33")]
    with pytest.raises(RecipeError, match="33"):
        strategy_table(load("endodav-tiny"), videos, settings, tmp_path / "work", ignore)
    assert not (tmp_path / "work").exists()


def test_drift_aligns_each_length_by_itself(videos: list[Video], tmp_path: Path) -> None:
    table = papers.drift(videos, [Candidate("one", tiny)], [3, 7], tmp_path, ignore)
    assert table.metrics == ["3", "7"]
    whole = score_candidates([Candidate("one", tiny)], videos, PROTOCOLS["vda"], tmp_path, ignore)[
        "one"
    ]
    expected = as_row("one", whole, ["abs_rel"]).scores["abs_rel"]
    np.testing.assert_allclose(table.rows[0].scores["7"], expected)
    assert not np.allclose(table.rows[0].scores["3"], expected)


def test_drift_needs_a_video_of_that_length(videos: list[Video], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the longest has 7"):
        papers.drift(videos, [Candidate("one", tiny)], [3, 8], tmp_path, ignore)


def test_table1_puts_the_papers_figures_beside_its_own_rows(
    videos: list[Video], tmp_path: Path
) -> None:
    rows = [Candidate("EndoDAV", tiny), Candidate("mine", tiny)]
    table = papers.table1("hamlyn", videos, rows, tmp_path, ignore)
    assert table.published.figures["EndoDAV"]["delta1"] == 0.595
    cells = {row[0]: row for row in table.cells()}
    assert "0.212" in cells["EndoDAV"]
    assert "0.212" not in cells["mine"]
