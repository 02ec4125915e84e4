"""`endodav info`: every result of ours is told, and everything else is one sentence."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from endodav.errors import InputError
from endodav.types import DepthFrame, DepthMeta, Kind, SourceInfo, Units
from endodav.video.inspect import describe, read_depth, read_meta
from endodav.video.sink import open_sink
from endodav.video.sinks import FORMATS


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    meta = DepthMeta(
        kind=Kind.DEPTH,
        units=Units.MILLIMETRES,
        model="endodac-small",
        weights_sha256="ab" * 32,
        licence="MIT",
        origin="https://example.org",
        source="clip.mp4",
        endodav_version="0.1.0",
    )
    info = SourceInfo("clip.mp4", 4, 6, Fraction(25), 2)
    with open_sink(folder, tuple(FORMATS), meta=meta, info=info) as sink:
        for k in range(2):
            values = np.full((4, 6), 1.5 + k, np.float32)
            image = np.zeros((4, 6, 3), np.uint8)
            sink.write(DepthFrame(values, Fraction(1001 * k, 30000), k, image))
    return folder


@pytest.mark.parametrize("name", FORMATS)
def test_describe_tells_what_a_user_asks(results: Path, name: str) -> None:
    text = describe(results / FORMATS[name].filename)
    for fact in (
        name,
        "depth, mm, 1.5 to 2.5",
        "2 of 6x4",
        "0.000 s to 0.033 s",
        "endodac-small (https://example.org)",
        "MIT",
        "sha256 abab",
        "clip.mp4",
    ):
        assert fact in text


def test_renamed_results_are_recognised(results: Path, tmp_path: Path) -> None:
    for name, known in FORMATS.items():
        renamed = tmp_path / f"other{known.suffix if known.fixed_size else name}"
        renamed.symlink_to(results / known.filename)
        assert read_meta(renamed)["format"] == name


def test_a_preview_has_no_depth_to_read(results: Path) -> None:
    with pytest.raises(InputError, match=r"preview.*npz"):
        read_depth(results / "depth.mp4")


def test_what_is_not_ours_is_one_sentence(
    tmp_path: Path, make_video: Callable[..., np.ndarray]
) -> None:
    make_video(tmp_path / "a.mp4", count=2)
    make_video(tmp_path / "a.mkv", count=2)
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    for name in ("b.mp4", "b.mkv", "b.npz", "b.png", "b.exr", "b.txt"):
        (tmp_path / name).write_bytes(b"not what the name says")
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "meta.json").write_text("{")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(InputError, match="was not written by EndoDAV"):
            read_meta(path)
    with pytest.raises(InputError, match="does not exist"):
        read_meta(tmp_path / "absent.npz")


def test_the_snippets_of_the_page_run(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[2] / "docs" / "design" / "outputs.md"
    snippets = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(snippets) == 6
    monkeypatch.chdir(results)
    for snippet in snippets:
        names: dict[str, Any] = {}
        exec(snippet, names)
        last = np.asarray(names["depth"])
        last = last[-1] if last.ndim == 3 else last
        expected = 1.5 if "frame_000000" in snippet else 2.5
        np.testing.assert_allclose(last, expected, atol=4 / 131070)
