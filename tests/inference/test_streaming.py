"""One frame in, one depth out, and when the past is forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from endodav.errors import InputError, PrecisionWarning
from endodav.inference.scene_cut import SceneCuts
from endodav.inference.settings import InferenceSettings
from endodav.inference.streaming import StreamingDepth

from .fakes import Luminance, Overflowing, frames_of, tiny_preset, video


class Counting(nn.Module):
    """Depth is the number of frames remembered."""

    def encode(self, frames: Tensor) -> list[Tensor]:
        assert len(frames) == 1, "a stream goes step by step"
        return [frames[:, 0]]

    def decode(self, maps: list[Tensor], wanted: Sequence[int] | None = None) -> Tensor:  # noqa: ARG002
        raise AssertionError(f"a clip of {len(maps[0])} frames; a stream goes step by step")

    def advance(self, maps: list[Tensor], state: int | None) -> tuple[Tensor, int]:
        past = 0 if state is None else state
        return torch.full_like(maps[0], float(past)), past + 1


class Ahead(Counting):
    """Encoded in another thread than it is advanced in."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: dict[str, set[int]] = {"encode": set(), "advance": set()}
        self.now = False

    @contextmanager
    def encoding_ahead(self) -> Iterator[None]:
        self.now = True
        yield
        self.now = False

    def encode(self, frames: Tensor) -> list[Tensor]:
        self.threads["encode"].add(get_ident())
        return super().encode(frames)

    def advance(self, maps: list[Tensor], state: int | None) -> tuple[Tensor, int]:
        self.threads["advance"].add(get_ident())
        return super().advance(maps, state)


def stream(network: nn.Module, **options: object) -> StreamingDepth:
    return StreamingDepth(network, tiny_preset(), **options)  # type: ignore[arg-type]


def ages(made: StreamingDepth, images: np.ndarray) -> list[int]:
    return [int(frame.values.max()) for frame in made.run(frames_of(images))]


def moved(image: np.ndarray, count: int) -> np.ndarray:
    return np.stack([np.roll(image, shift, axis=1) for shift in range(count)])


def scene(seed: int, height: int = 64, width: int = 80) -> np.ndarray:
    """A smooth picture, whose neighbouring frames resemble each other."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(30, 220, (1, 3, 5, 6)))
    fine = nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0]
    return fine.permute(1, 2, 0).clamp(0, 255).numpy().astype(np.uint8)


def test_one_frame_in_one_depth_out():
    made = stream(Counting())
    frame = next(frames_of(video(1), first=4))
    depth = made.step(frame)
    assert depth.values.shape == (20, 24)
    assert depth.values.dtype == np.float32
    assert (depth.index, depth.timestamp) == (4, frame.timestamp)
    assert depth.image is frame.image
    assert made.state == 1


def test_memory_grows_until_reset():
    made = stream(Counting())
    assert ages(made, moved(scene(0), 3)) == [0, 1, 2]
    made.reset()
    assert made.state is None
    assert ages(made, moved(scene(0), 2)) == [0, 1]


def test_a_scene_cut_resets():
    images = np.concatenate([moved(scene(0), 3), moved(scene(1), 3)])
    assert ages(stream(Counting()), images) == [0, 1, 2, 0, 1, 2]
    assert ages(stream(Counting(), detect_cuts=False), images) == [0, 1, 2, 3, 4, 5]


def test_a_change_of_resolution_resets():
    made = stream(Counting(), detect_cuts=False)
    assert ages(made, moved(scene(0), 2)) == [0, 1]
    assert ages(made, moved(scene(0, 64, 90), 2)) == [0, 1]


@pytest.mark.parametrize("gain", [0.4, 0.7, 1.1])
def test_flicker_is_no_cut(gain: float):
    images = moved(scene(0), 6).astype(float)
    images[1::2] = np.clip(images[1::2] * gain, 0, 255)
    assert ages(stream(Counting()), images.astype(np.uint8)) == list(range(6))


@pytest.mark.parametrize("level", [0, 255])
def test_one_black_or_white_frame_is_no_cut(level: int):
    images = moved(scene(0), 5)
    images[2] = level
    assert ages(stream(Counting()), images) == list(range(5))


def test_a_cut_behind_a_black_frame_is_found():
    images = np.concatenate(
        [moved(scene(0), 2), np.zeros_like(moved(scene(0), 1)), moved(scene(1), 2)]
    )
    assert ages(stream(Counting()), images) == [0, 1, 2, 0, 1]


def test_fast_motion_is_no_cut():
    panorama = scene(0, 64, 400)
    images = np.stack([panorama[:, x : x + 80] for x in range(0, 90, 14)])
    assert ages(stream(Counting()), images) == list(range(7))


def test_a_round_mask_does_not_hide_a_cut():
    rows, columns = np.mgrid[:64, :80]
    outside = (rows - 32) ** 2 + (columns - 40) ** 2 > 31**2
    images = np.concatenate([moved(scene(0), 2), moved(scene(1), 2)])
    images[:, outside] = 2
    assert ages(stream(Counting()), images) == [0, 1, 0, 1]


def test_tiny_frames_have_no_cuts():
    cuts = SceneCuts()
    assert not any(cuts.begins(image) for image in video(4, 1, 1))


def test_networks_without_memory_see_each_frame_alone():
    network = Luminance()
    list(stream(network).run(frames_of(video(3))))
    assert network.lengths == [1, 1, 1]


def test_overflow_drops_the_memory_and_goes_on_in_float32():
    network = Overflowing()
    made = stream(network, settings=InferenceSettings("fp16"), detect_cuts=False)
    dark, bright = video(2) // 64, video(1)
    list(made.run(frames_of(dark)))
    assert made.state == 1
    with pytest.warns(PrecisionWarning):
        list(made.run(frames_of(bright)))
    assert made.state == 0
    assert network.types == [torch.float16, torch.float16, torch.float16, torch.float32]


def test_no_frames_is_an_input_error():
    with pytest.raises(InputError, match="no frames"):
        list(stream(Counting()).run([]))


def test_real_clips_have_no_cuts_but_between_them(real_data):
    from endodav.video.source import open_source

    clips = [
        real_data / "endonerf" / "pulling_63f.mp4",
        real_data / "laparoscopy" / "cholecystectomy_250f_720p.mp4",
    ]
    cuts, found = SceneCuts(), []
    for clip in clips:
        with open_source(clip, end=0.5) as source:
            found.append([cuts.begins(frame.image) for frame in source])
    # Their sizes differ, but thumbnails do not.
    assert not any(found[0])
    assert found[1][0]
    assert not any(found[1][1:])


def test_frames_are_encoded_ahead_where_the_network_can():
    network = Ahead()
    made = stream(network)
    images = np.concatenate([moved(scene(1), 4), moved(scene(2), 3)])
    assert ages(made, images) == [0, 1, 2, 3, 0, 1, 2]
    assert not network.now
    assert network.threads["encode"].isdisjoint(network.threads["advance"])
    made.step(next(frames_of(images)))  # a live frame has nothing beside it
    assert get_ident() in network.threads["encode"]
