"""Video files as sources."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from threading import get_ident

import av
import numpy as np
import pytest

from endodav.errors import InputError, PartialInputWarning
from endodav.types import Frame
from endodav.video.source import each_of, open_source

MakeVideo = Callable[..., np.ndarray]
NOISE = np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3), dtype=np.uint8)


def read(path: Path | str, **options: float) -> list[Frame]:
    with open_source(path, **options) as source:
        return list(source)


def times(frames: list[Frame]) -> list[Fraction]:
    return [frame.timestamp for frame in frames]


def numbers(frames: list[Frame]) -> list[int]:
    """Which of `numbered_images` each frame is."""
    return [round((float(frame.image.mean()) - 8) / 16) for frame in frames]


# What is delivered


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("a.mp4", "libx264", None),
        ("a.mp4", "libx264", "yuv420p10le"),
        ("a.mp4", "mpeg4", None),
        ("a.mkv", "libx264", "yuv444p"),
        ("a.mkv", "ffv1", None),
        ("a.mkv", "ffv1", "gray"),
        ("a.mkv", "ffv1", "gray10le"),
        ("a.mkv", "ffv1", "yuva420p"),
        ("a.avi", "mjpeg", None),
        ("a.webm", "libvpx-vp9", None),
        ("a.mov", "prores", "yuv422p10le"),
        ("a.ts", "mpeg2video", None),
    ],
)
def test_codecs_containers_and_pixel_formats(
    tmp_path: Path, make_video: MakeVideo, name: str, codec: str, pixel_format: str | None
) -> None:
    images = make_video(tmp_path / name, codec=codec, pixel_format=pixel_format, count=6)
    with open_source(tmp_path / name) as source:
        frames = list(source)
    begin = frames[0].timestamp
    assert times(frames) == [begin + Fraction(k, 25) for k in range(6)]
    assert (source.info.height, source.info.width, source.info.fps) == (48, 64, 25)
    assert (source.info.name, source.info.frame_count, source.loss) == (name, 6, None)
    for frame, image in zip(frames, images, strict=True):
        np.testing.assert_allclose(frame.image.astype(int), image.astype(int), atol=4)


def test_a_lossless_file_comes_back_exactly(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "a.mkv", NOISE[:4], codec="ffv1")
    np.testing.assert_array_equal([frame.image for frame in read(tmp_path / "a.mkv")], NOISE[:4])


@pytest.mark.parametrize("size", [(2, 2), (33, 47), (5, 200)])
def test_odd_and_tiny_sizes(tmp_path: Path, make_video: MakeVideo, size: tuple[int, int]) -> None:
    make_video(tmp_path / "a.mkv", codec="ffv1", pixel_format="yuv420p", size=size, count=3)
    frames = read(tmp_path / "a.mkv")
    assert [frame.image.shape for frame in frames] == [(*size, 3)] * 3
    assert numbers(frames) == [0, 1, 2]


def test_eight_k(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "a.avi", codec="mjpeg", size=(4320, 7680), count=1)
    (frame,) = read(tmp_path / "a.avi")
    assert frame.image.shape == (4320, 7680, 3)


@pytest.mark.parametrize(
    ("space", "limited", "expected"),
    [  # Y = 150, Cb = Cr = 140 by the equations of BT.601 and BT.709
        (1, True, (177.5, 147.0, 181.4)),
        (1, False, (168.9, 142.1, 172.3)),
        (5, True, (175.2, 141.6, 180.3)),
        (5, False, (166.8, 137.3, 171.3)),
        (2, True, (175.2, 141.6, 180.3)),  # untagged: BT.601
    ],
)
def test_colour_space_and_range_are_respected(
    tmp_path: Path, space: int, limited: bool, expected: tuple[float, ...]
) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 16, 16, "yuv420p"
        stream.codec_context.colorspace = space
        stream.codec_context.color_range = 1 if limited else 2
        frame = av.VideoFrame(16, 16, "yuv420p")
        for plane, level in zip(frame.planes, (150, 140, 140), strict=True):
            plane.update(bytes([level]) * plane.buffer_size)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (decoded,) = read(tmp_path / "a.mkv")
    np.testing.assert_allclose(decoded.image[8, 8], expected, atol=1)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_metadata_is_applied(tmp_path: Path, make_video: MakeVideo, rotation: int) -> None:
    make_video(tmp_path / "plain.mp4", NOISE[:2])
    make_video(tmp_path / "turned.mp4", NOISE[:2], rotation=rotation)
    with open_source(tmp_path / "turned.mp4") as source:
        turned = list(source)
    for frame, plain in zip(turned, read(tmp_path / "plain.mp4"), strict=True):
        np.testing.assert_array_equal(frame.image, np.rot90(plain.image, rotation // 90))
        assert (source.info.height, source.info.width) == frame.image.shape[:2]


@pytest.mark.parametrize(("hflip", "vflip"), [(True, False), (False, True)])
@pytest.mark.parametrize("rotation", [0, 90])
def test_mirrored_videos_are_put_right(
    tmp_path: Path, rotation: int, hflip: bool, vflip: bool
) -> None:
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "rgb24"
        stream.set_display_rotation(rotation, hflip=hflip, vflip=vflip)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(NOISE[0])))
        container.mux(stream.encode())
    expected = np.rot90(NOISE[0], rotation // 90)
    expected = expected[::-1] if vflip else expected
    expected = expected[:, ::-1] if hflip else expected
    (frame,) = read(tmp_path / "a.mov")
    np.testing.assert_array_equal(frame.image, expected)


def test_frames_keep_their_own_size_when_it_changes(tmp_path: Path, make_video: MakeVideo) -> None:
    for name, size in (("a", (48, 64)), ("b", (96, 128))):
        make_video(tmp_path / f"{name}.mjpeg", codec="mjpeg", size=size, count=3)
    joined = (tmp_path / "a.mjpeg").read_bytes() + (tmp_path / "b.mjpeg").read_bytes()
    (tmp_path / "joined.mjpeg").write_bytes(joined)
    shapes = [frame.image.shape for frame in read(tmp_path / "joined.mjpeg")]
    assert shapes == [(48, 64, 3)] * 3 + [(96, 128, 3)] * 3


# Time


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_variable_rate_and_b_frames_keep_exact_times(
    tmp_path: Path, make_video: MakeVideo, name: str
) -> None:
    pts = [500, 540, 600, 620, 800, 801, 900, 1000, 1100, 1400]
    make_video(tmp_path / name, pts=pts, max_b_frames=3)
    frames = read(tmp_path / name)
    assert numbers(frames) == list(range(10))
    expected = [Fraction(time, 1000) for time in pts]
    assert times(frames) == expected


def test_frames_without_times_come_at_the_nominal_rate(
    tmp_path: Path, make_video: MakeVideo
) -> None:
    make_video(tmp_path / "raw.h264", count=8)
    frames = read(tmp_path / "raw.h264")
    assert times(frames) == [Fraction(k, 25) for k in range(8)]
    assert times(read(tmp_path / "raw.h264", start=0.1, end=0.2)) == times(frames)[3:5]


def test_each_pass_starts_from_the_beginning(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "a.mp4", count=5)
    with open_source(tmp_path / "a.mp4") as source:
        assert next(iter(source)).index == 0
        assert numbers(list(source)) == numbers(list(source)) == list(range(5))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
@pytest.mark.parametrize(("start", "end"), [(3.2, 4.0), (None, 0.1), (5.96, None), (2.01, 2.05)])
def test_a_range_is_the_same_as_reading_all_and_choosing(
    tmp_path: Path, make_video: MakeVideo, name: str, start: float | None, end: float | None
) -> None:
    images = np.repeat(NOISE[:, :16, :16], 3, axis=0)[:150]
    make_video(tmp_path / name, images, gop_size=30, max_b_frames=2)
    every = read(tmp_path / name)
    low = Fraction(0) if start is None else Fraction(str(start))
    high = Fraction(100) if end is None else Fraction(str(end))
    expected = [frame for frame in every if low <= frame.timestamp < high]
    with open_source(tmp_path / name, start=start, end=end) as source:
        found = list(source)
    assert times(found) == times(expected)
    assert [frame.index for frame in found] == list(range(len(expected)))
    assert abs((source.info.frame_count or 0) - len(expected)) <= 1
    for frame, same in zip(found, expected, strict=True):
        np.testing.assert_array_equal(frame.image, same.image)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_thirty_a_second_resampled_keeps_the_duration(
    tmp_path: Path, make_video: MakeVideo, name: str
) -> None:
    make_video(tmp_path / name, count=12, fps=30)
    assert numbers(read(tmp_path / name, fps=30)) == list(range(12))
    assert numbers(read(tmp_path / name, fps=15)) == [0, 2, 4, 6, 8, 10]
    assert numbers(read(tmp_path / name, fps=60)) == [k // 2 for k in range(24)]
    with open_source(tmp_path / name, fps=24) as source:
        frames = list(source)
    assert len(frames) / 24 == pytest.approx(12 / 30, abs=1 / 24)
    assert (source.info.fps, source.info.frame_count) == (24, len(frames))


def test_leaving_the_context_ends_an_unfinished_pass(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "a.mp4")
    with open_source(tmp_path / "a.mp4") as source:
        frames = iter(source)
        next(frames)
    assert next(frames, None) is None


# Bad input


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file or folder .*missing\.mp4"):
        open_source(tmp_path / "missing.mp4")


@pytest.mark.parametrize("name", ["a.mp4", "a.txt", "a.srt", "a"])
def test_text_is_not_a_video(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("1\n00:00:00,000 --> 00:00:09,000\nnot a video\n\n" * 50)
    with pytest.raises(InputError, match=r"cannot be read as a video|not a video|no video stream"):
        open_source(tmp_path / name)


def test_zero_length_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(InputError, match="is empty"):
        open_source(tmp_path / "a.mp4")


@pytest.mark.parametrize("with_cover", [False, True])
def test_audio_only(tmp_path: Path, with_cover: bool) -> None:
    name = "a.mp3" if with_cover else "a.m4a"
    with av.open(str(tmp_path / name), "w") as container:
        sound = container.add_stream("libmp3lame" if with_cover else "aac", rate=44100)
        picture = container.add_stream("png", rate=1) if with_cover else None
        if picture is not None:
            picture.height, picture.width, picture.pix_fmt = 48, 64, "rgb24"
            picture.disposition = av.stream.Disposition.attached_pic
            container.mux(picture.encode(av.VideoFrame.from_ndarray(NOISE[0])))
        silence = np.zeros((1, 1152 if with_cover else 1024), np.float32)
        for _ in range(5):
            frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
            frame.sample_rate = 44100
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
    with pytest.raises(InputError, match="no video stream"):
        open_source(tmp_path / name)


def test_not_one_frame_can_be_decoded(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "a.mp4", NOISE[:10])
    whole = bytearray((tmp_path / "a.mp4").read_bytes())
    begin, end = whole.index(b"mdat") + 4, whole.index(b"moov") - 4
    whole[begin:end] = bytes(end - begin)
    (tmp_path / "a.mp4").write_bytes(whole)
    with pytest.raises(InputError, match="Not one frame"):
        open_source(tmp_path / "a.mp4")


def test_a_recording_without_its_index(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "a.mp4", NOISE)
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cut off"):
        open_source(tmp_path / "a.mp4")


def test_an_empty_range(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "a.mp4", count=25)
    with pytest.raises(InputError, match=r"no frame from 7 s to 8 s; .* about 1 s"):
        open_source(tmp_path / "a.mp4", start=7, end=8)
    with pytest.raises(InputError, match="no frame"):
        open_source(tmp_path / "a.mp4", start=0.041, end=0.079)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_a_file_cut_off_in_the_middle(tmp_path: Path, make_video: MakeVideo, name: str) -> None:
    index_first = {"movflags": "faststart"} if name == "a.mp4" else {}
    make_video(tmp_path / name, NOISE, container_options=index_first)
    whole = read(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with open_source(tmp_path / name) as source:
        with pytest.warns(PartialInputWarning, match="of about 60 frames were delivered"):
            frames = list(source)
        assert source.loss is not None
        assert f" {len(frames)} of about 60 frames" in source.loss
    assert 20 < len(frames) < 40
    for frame, same in zip(frames[:-1], whole, strict=False):
        np.testing.assert_array_equal(frame.image, same.image)
        assert frame.timestamp == same.timestamp
    with warnings.catch_warnings():  # a range inside the readable part loses nothing
        warnings.simplefilter("error")
        assert len(read(tmp_path / name, start=0.2, end=0.4)) == 5


def test_damage_in_the_middle_is_skipped_and_told(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "a.mp4", NOISE, gop_size=10)
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 10000] = bytes(10000)
    (tmp_path / "a.mp4").write_bytes(data)
    source = open_source(tmp_path / "a.mp4")
    with pytest.warns(PartialInputWarning, match="damaged packets were skipped"):
        frames = list(source)
    assert source.loss is not None
    assert 50 <= len(frames) < 60
    assert frames[-1].timestamp == Fraction(59, 25)


def test_a_whole_file_with_sound_longer_than_picture_is_not_called_cut_off(
    tmp_path: Path,
) -> None:
    for name in ("a.mkv", "a.mp4"):
        with av.open(str(tmp_path / name), "w") as container:
            video = container.add_stream("mpeg4", rate=25)
            video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
            sound = container.add_stream("aac", rate=48000)
            for image in NOISE[:5]:
                container.mux(video.encode(av.VideoFrame.from_ndarray(image)))
            for _ in range(100):
                silence = np.zeros((1, 1024), np.float32)
                frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
                frame.sample_rate = 48000
                container.mux(sound.encode(frame))
            container.mux(video.encode())
            container.mux(sound.encode())
        with open_source(tmp_path / name) as source:
            assert len(list(source)) == 5
        assert source.loss is None


# Real clips


@pytest.mark.parametrize(
    ("spec", "count", "size", "last"),
    [
        ("endonerf/pulling_63f.mp4", 63, (512, 640), Fraction(62, 30)),
        ("general/davis_rollercoaster.mp4", 70, (540, 960), Fraction(69, 24)),
        ("hololens/images", 48, (360, 540), Fraction(47, 25)),
        ("simcol3d/FrameBuffer_*.png", 10, (475, 475), Fraction(9, 25)),
    ],
)
def test_real_inputs(
    real_data: Path, spec: str, count: int, size: tuple[int, int], last: Fraction
) -> None:
    with open_source(real_data / spec) as source:
        seen = [(frame.timestamp, frame.image.shape) for frame in source]
    assert source.info.frame_count == len(seen) == count
    assert (source.info.height, source.info.width) == size
    assert {shape for _, shape in seen} == {(*size, 3)}
    assert seen[-1][0] == last
    assert source.loss is None


# Work on every frame


def test_work_on_each_frame_is_done_in_order_where_files_are_decoded(
    tmp_path: Path, make_video: MakeVideo
) -> None:
    make_video(tmp_path / "a.mkv", NOISE[:5], codec="ffv1")
    given = list(NOISE[:5])
    for spec, elsewhere in ((tmp_path / "a.mkv", True), (given, False)):
        threads = set[int]()

        def work(frame: Frame, threads: set[int] = threads) -> tuple[int, int]:
            threads.add(get_ident())
            return frame.index, int(frame.image[0, 0, 0])

        with open_source(spec) as source:
            assert list(each_of(source, work)) == [(k, int(NOISE[k, 0, 0, 0])) for k in range(5)]
        assert (get_ident() not in threads) is elsewhere
    assert list(each_of(iter(read(tmp_path / "a.mkv")), lambda frame: frame.index)) == [
        0,
        1,
        2,
        3,
        4,
    ]


def test_an_error_of_the_work_comes_where_its_frame_would(
    tmp_path: Path, make_video: MakeVideo
) -> None:
    make_video(tmp_path / "a.mkv", NOISE[:5], codec="ffv1")

    def work(frame: Frame) -> int:
        if frame.index == 3:
            raise ValueError("no more")
        return frame.index

    with open_source(tmp_path / "a.mkv") as source:
        made = each_of(source, work)
        assert [next(made) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="no more"):
            next(made)
