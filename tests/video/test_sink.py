"""Every format gives back what went in, and nothing is left of a run that failed."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from endodav.errors import OutputError
from endodav.types import DepthFrame, DepthMeta, Kind, SourceInfo, Units
from endodav.video import sink as sink_module
from endodav.video.colormap import ColourScale, fit_colour_scale
from endodav.video.inspect import read_depth, read_meta, read_timestamps
from endodav.video.sink import open_sink
from endodav.video.sinks import FORMATS

EVERY_FORMAT = tuple(FORMATS)
DATA_FORMATS = tuple(name for name, known in FORMATS.items() if known.read_depth)
FIXED_SIZE = tuple(name for name, known in FORMATS.items() if known.fixed_size)
FOLDERS = tuple(name for name, known in FORMATS.items() if not known.fixed_size)
EXACT = ("exr", "npz", "zarr")

META = DepthMeta(
    kind=Kind.INVERSE_DEPTH,
    units=Units.AFFINE_INVARIANT,
    model="endodav-tiny",
    weights_sha256="0" * 64,
    licence="Apache-2.0",
    origin="rendered scenes, naïve Ω",
    source="clip.mp4",
    endodav_version="0.1.0",
    settings={"strategy": "endodav", "window": 32},
)
IRREGULAR = tuple(10 + Fraction(n, d) for n, d in ((0, 1), (1001, 24000), (1, 11), (1, 1)))


def depth_frames(
    count: int = 4, height: int = 6, width: int = 8, gain: float = 1.0
) -> list[DepthFrame]:
    """Frames whose maximum grows by `gain` each, with a source image of twice the size."""
    generator = np.random.default_rng(0)
    times = [*IRREGULAR, *(IRREGULAR[-1] + Fraction(k, 25) for k in range(1, count))]
    return [
        DepthFrame(
            values=generator.uniform(0, gain**k, (height, width)).astype(np.float32),
            timestamp=times[k],
            index=k,
            image=generator.integers(0, 256, (2 * height, 2 * width, 3), dtype=np.uint8),
        )
        for k in range(count)
    ]


def info_of(frames: list[DepthFrame]) -> SourceInfo:
    height, width = frames[0].image.shape[:2]
    return SourceInfo("clip.mp4", height, width, Fraction(25), len(frames))


def write(folder: Path, formats: tuple[str, ...], frames: list[DepthFrame], **options) -> None:
    source = options.pop("source", frames)
    with open_sink(folder, formats, meta=META, info=info_of(frames), **options) as sink:
        for frame in source:
            sink.write(frame)


def path_of(folder: Path, name: str) -> Path:
    return folder / FORMATS[name].filename


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("size", [(6, 8), (2, 2), (5, 7), (1, 1)])
@pytest.mark.parametrize("count", [1, 4])
def test_every_format_gives_back_values_times_and_meta(
    tmp_path: Path, size: tuple[int, int], count: int
) -> None:
    frames = depth_frames(count, *size)
    write(tmp_path, EVERY_FORMAT, frames)
    assert listing(tmp_path) == sorted(known.filename for known in FORMATS.values())
    for name in EVERY_FORMAT:
        meta = read_meta(path_of(tmp_path, name))
        assert {key: meta[key] for key in vars(META)} == vars(META)
        assert read_timestamps(meta) == [frame.timestamp for frame in frames]
        assert meta["range"] == [
            min(float(frame.values.min()) for frame in frames),
            max(float(frame.values.max()) for frame in frames),
        ]
        assert (meta["format"], meta["height"], meta["width"]) == (name, *size)
    for name in DATA_FORMATS:
        read = list(read_depth(path_of(tmp_path, name)))
        assert len(read) == count
        tolerance = 0 if name in EXACT else 2.0 / 131070  # maxima below 1: full scale 2 at most
        for values, frame in zip(read, frames, strict=True):
            np.testing.assert_allclose(values, frame.values, rtol=0, atol=tolerance * 1.0001)


@pytest.mark.parametrize("name", ["png16", "ffv1"])
def test_full_scale_doubles_where_it_must_and_nothing_is_clipped(tmp_path: Path, name: str) -> None:
    frames = depth_frames(8, gain=4.0)
    write(tmp_path, (name,), frames)
    segments = read_meta(path_of(tmp_path, name))["encoding"]["full_scale"]
    assert len(segments) > 3
    for values, frame in zip(read_depth(path_of(tmp_path, name)), frames, strict=True):
        full_scale = max(scale for first, scale in segments if first <= frame.index)
        error = np.abs(values - frame.values).max()
        assert error <= full_scale / 131070 * 1.0001 <= frame.values.max()


@pytest.mark.parametrize("name", DATA_FORMATS)
def test_leading_frames_of_zeros(tmp_path: Path, name: str) -> None:
    frames = depth_frames(4)
    for frame in frames[:2]:
        frame.values[:] = 0
    write(tmp_path, (name,), frames)
    for values, frame in zip(read_depth(path_of(tmp_path, name)), frames, strict=True):
        np.testing.assert_allclose(values, frame.values, rtol=0, atol=2 / 131070)


@pytest.mark.parametrize("name", EVERY_FORMAT)
def test_zeros_alone(tmp_path: Path, name: str) -> None:
    frames = depth_frames(2)
    for frame in frames:
        frame.values[:] = 0
    write(tmp_path, (name,), frames)
    assert read_meta(path_of(tmp_path, name))["range"] == [0, 0]


def test_npz_is_what_numpy_users_expect(tmp_path: Path) -> None:
    frames = depth_frames(4)
    write(tmp_path, ("npz",), frames)
    with np.load(tmp_path / "depth.npz", allow_pickle=False) as archive:
        assert sorted(archive.files) == ["inverse_depth", "meta", "timestamps"]
        np.testing.assert_array_equal(
            archive["inverse_depth"], np.stack([frame.values for frame in frames])
        )
        np.testing.assert_array_equal(archive["timestamps"], [float(t) for t in IRREGULAR])
        assert archive["timestamps"].dtype == np.float64


def test_one_image_of_a_folder_describes_itself(tmp_path: Path) -> None:
    frames = depth_frames(3)
    write(tmp_path, FOLDERS, frames)
    for name in FOLDERS:
        path = path_of(tmp_path, name) / f"frame_000001{FORMATS[name].suffix}"
        meta = read_meta(path)
        assert meta["timestamps"] == [str(frames[1].timestamp)]
        assert meta["model"] == META.model
        (values,) = read_depth(path)
        np.testing.assert_allclose(values, frames[1].values, rtol=0, atol=2 / 131070)


@pytest.mark.parametrize(
    ("name", "tick"), [("video", Fraction(1, 5_760_000)), ("ffv1", Fraction(1, 1000))]
)
def test_videos_play_at_the_sources_own_times(tmp_path: Path, name: str, tick: Fraction) -> None:
    frames = depth_frames(4)
    write(tmp_path, (name,), frames)
    with av.open(str(path_of(tmp_path, name))) as container:
        times = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    for time, frame in zip(times, frames, strict=True):
        assert abs(time - frame.timestamp) <= tick / 2
    if name == "video":
        assert times[:2] == list(IRREGULAR[:2])  # 1001/24000 is a whole number of ticks


def test_equal_timestamps_lose_no_frame(tmp_path: Path) -> None:
    frames = [
        DepthFrame(frame.values, Fraction(1), frame.index, frame.image) for frame in depth_frames(3)
    ]
    write(tmp_path, ("video", "ffv1"), frames)
    for name in ("video", "ffv1"):
        with av.open(str(path_of(tmp_path, name))) as container:
            assert len(list(container.decode(video=0))) == 3


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    frames = depth_frames(40)  # more than are held back, so every writer is at work

    def interrupted() -> Iterator[DepthFrame]:
        yield from frames
        assert len(listing(tmp_path)) == 1  # the hidden folder
        raise error

    with pytest.raises(error):
        write(tmp_path, EVERY_FORMAT, frames, source=interrupted())
    assert listing(tmp_path) == []


@pytest.mark.parametrize("failing", EVERY_FORMAT)
@pytest.mark.parametrize("method", ["write", "finish"])
def test_one_failing_format_removes_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, method: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FORMATS[failing].writer, method, fail)
    with pytest.raises(OutputError, match=rf"{FORMATS[failing].filename}.*free some space"):
        write(tmp_path, EVERY_FORMAT, depth_frames(2))
    assert listing(tmp_path) == []


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", EVERY_FORMAT)
@pytest.mark.parametrize("size", [100, 9000])
def test_a_full_disk_is_one_sentence(
    tmp_path: Path, name: str, size: int, capfd: pytest.CaptureFixture[str]
) -> None:
    frames = depth_frames(2, 96, 128)
    with capfd.disabled(), largest_file(size), pytest.raises(OutputError) as caught:
        write(tmp_path, (name,), frames)
    assert FORMATS[name].filename in str(caught.value)
    assert "free some space" in str(caught.value)
    assert listing(tmp_path) == []


@pytest.mark.parametrize("size", [200, 2100, 4500])
def test_exr_notices_a_lost_end_of_file(tmp_path: Path, size: int) -> None:
    with largest_file(size), pytest.raises(OutputError):
        write(tmp_path, ("exr",), depth_frames(1, 20, 20))
    assert listing(tmp_path) == []


@pytest.mark.parametrize("name", EVERY_FORMAT)
def test_existing_results_are_refused_before_any_work(tmp_path: Path, name: str) -> None:
    frames = depth_frames(2)
    write(tmp_path, (name,), frames)
    with pytest.raises(OutputError, match="--overwrite"):
        open_sink(tmp_path, (name,), meta=META, info=info_of(frames))
    write(tmp_path, (name,), frames[:1], overwrite=True)
    assert read_meta(path_of(tmp_path, name))["frame_count"] == 1
    assert listing(tmp_path) == [FORMATS[name].filename]


def test_a_failed_overwrite_keeps_the_old_result(tmp_path: Path) -> None:
    write(tmp_path, EVERY_FORMAT, depth_frames(3))
    frames = depth_frames(2)
    frames[1].values[0, 0] = np.nan
    with pytest.raises(OutputError, match="not finite"):
        write(tmp_path, EVERY_FORMAT, frames, overwrite=True)
    assert all(read_meta(path_of(tmp_path, name))["frame_count"] == 3 for name in EVERY_FORMAT)


def test_unusable_destinations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = depth_frames(1)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OutputError, match="is a file"):
        write(file, ("npz",), frames)
    with pytest.raises(OutputError, match="Not a directory"):
        write(file / "below", ("npz",), frames)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sink_module.tempfile, "TemporaryFile", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        write(tmp_path / "locked", ("npz",), frames)


@pytest.mark.parametrize(
    ("formats", "options", "sentence"),
    [
        ((), {}, "choose from video"),
        (("npy",), {}, "no output format 'npy'"),
        (("video",), {"colormap": "no-such-map"}, "inferno"),
    ],
)
def test_impossible_requests(
    tmp_path: Path, formats: tuple[str, ...], options: dict[str, str], sentence: str
) -> None:
    frames = depth_frames(1)
    with pytest.raises(OutputError, match=sentence):
        open_sink(tmp_path, formats, meta=META, info=info_of(frames), **options)


@pytest.mark.parametrize("name", FIXED_SIZE)
def test_one_size_is_kept(tmp_path: Path, name: str) -> None:
    frames = [*depth_frames(1, 6, 8), *depth_frames(1, 8, 6)]
    with pytest.raises(OutputError, match=f"{name}.*--output-size 8x6"):
        write(tmp_path, (name,), frames)
    assert listing(tmp_path) == []


def test_folders_take_any_size(tmp_path: Path) -> None:
    frames = [*depth_frames(1, 6, 8), *depth_frames(1, 8, 6)]
    write(tmp_path, FOLDERS, frames)
    for name in FOLDERS:
        assert [values.shape for values in read_depth(path_of(tmp_path, name))] == [(6, 8), (8, 6)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_never_written(tmp_path: Path, value: float) -> None:
    frames = depth_frames(1)
    frames[0].values[2, 3] = value
    with pytest.raises(OutputError, match="not finite"):
        write(tmp_path, ("npz",), frames)


def test_a_run_without_frames_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="no frame"),
        open_sink(tmp_path, EVERY_FORMAT, meta=META, info=info_of(depth_frames(1))),
    ):
        pass
    assert listing(tmp_path) == []


def test_warm_up_holds_no_more_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = depth_frames(5)
    held = frames[0].values.nbytes + frames[0].image.nbytes
    monkeypatch.setattr(sink_module, "WARM_UP_BYTES", 2 * held)
    fitted = []

    def fit(maps: Sequence[np.ndarray], *of_run: Any) -> ColourScale:
        fitted.append(len(maps))
        return fit_colour_scale(maps, *of_run)

    monkeypatch.setattr(sink_module, "fit_colour_scale", fit)
    write(tmp_path, ("exr", "video"), frames)
    assert fitted == [2]
    assert len(list(read_depth(path_of(tmp_path, "exr")))) == len(frames)
