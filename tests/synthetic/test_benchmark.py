"""The rendered benchmark: fixed as data, and rendered whole or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from endodav.errors import OutputError
from endodav.synthetic import FAMILIES, GENERATION, RENDERED, Benchmark, Video, render_benchmark
from endodav.training.data import HELD_OUT_SEED

FAMILY = next(iter(FAMILIES))
SMALL = Benchmark(
    name="small",
    videos=(Video("one", FAMILY, 7), Video("two", FAMILY, 8)),
    frames=2,
    height=16,
    width=20,
    fps=25.0,
)


def test_the_benchmark_is_twelve_videos_of_four_families() -> None:
    families = [video.family for video in RENDERED.videos]
    assert len(families) == 12
    assert set(families) <= set(FAMILIES)
    assert {families.count(family) for family in set(families)} == {3}
    assert (RENDERED.frames, RENDERED.height, RENDERED.width) == (300, 224, 280)


def test_its_seeds_are_never_trained_on() -> None:
    seeds = [video.seed for video in RENDERED.videos]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 2 * HELD_OUT_SEED


def test_it_is_taken_up_where_it_was_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendering = render_benchmark(tmp_path, SMALL, workers=1)
    assert next(rendering).name == "one"
    rendering.close()
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    before = (tmp_path / "one" / "depth" / "00001.png").stat().st_mtime_ns
    assert [video.name for video in render_benchmark(tmp_path, SMALL, workers=2)] == ["one", "two"]
    assert (tmp_path / "one" / "depth" / "00001.png").stat().st_mtime_ns == before
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert [video["seed"] for video in manifest["videos"]] == [7, 8]
    digests = [video["sha256"] for video in manifest["videos"]]
    assert digests[0].keys() >= {"video.mp4", "images", "depth", "poses.txt", "K.txt", "meta.json"}
    assert digests[0]["images"] != digests[1]["images"]
    assert not list(tmp_path.glob("*.partial"))
    # finished: nothing is rendered any more, and the manifest is the same
    monkeypatch.setattr("endodav.synthetic.benchmark._render_one", None)
    assert len(list(render_benchmark(tmp_path, SMALL))) == 2
    assert json.loads((tmp_path / "manifest.json").read_text()) == manifest


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    with pytest.raises(OutputError, match=r"two does not hold video two of benchmark small"):
        list(render_benchmark(tmp_path, SMALL))
    (tmp_path / "two" / "meta.json").write_text(json.dumps({"family": FAMILY, "seed": 9}))
    with pytest.raises(OutputError, match="choose another folder"):
        list(render_benchmark(tmp_path, SMALL))


def test_videos_of_an_earlier_renderer_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = replace(SMALL, videos=SMALL.videos[:1])
    list(render_benchmark(tmp_path, one, workers=1))
    monkeypatch.setattr("endodav.synthetic.benchmark.GENERATION", GENERATION + 1)
    with pytest.raises(OutputError, match="does not hold video one"):
        list(render_benchmark(tmp_path, one, workers=1))


def test_what_goes_wrong_in_a_process_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    one = replace(SMALL, videos=SMALL.videos[:1])
    with pytest.raises(OutputError, match="cannot be written"):
        list(render_benchmark(tmp_path / "file" / "out", one, workers=1))
