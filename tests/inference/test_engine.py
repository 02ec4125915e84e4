"""The one loop, with networks whose answer is known."""

from __future__ import annotations

import itertools
import warnings
import weakref
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from endodav.errors import AlignmentWarning, InputError, PrecisionWarning, RecipeError, WeightsError
from endodav.inference.alignment import least_squares
from endodav.inference.engine import DepthEngine
from endodav.inference.parts import ENCODED_AT_ONCE
from endodav.inference.preprocess import network_input
from endodav.inference.settings import InferenceSettings
from endodav.inference.windows import IMAGE_PLAN, PLANS, WindowPlan
from endodav.types import Frame, Kind, Units

from .fakes import Broken, ClipMean, Luminance, Overflowing, Unsure, frames_of, tiny_preset, video

MODEL_SIZE = InferenceSettings(output_size="model")
WANDERING = ((1.0, 0.0), (0.5, 0.3), (2.0, -0.1), (0.8, 0.05))


def engine(
    network: nn.Module,
    plan: str = "vda",
    settings: InferenceSettings = MODEL_SIZE,
    **preset: object,
) -> DepthEngine:
    return DepthEngine(network, tiny_preset(**preset), PLANS[plan], settings)


def depth_of(made: DepthEngine, images: np.ndarray) -> np.ndarray:
    return np.stack([frame.values for frame in made.run(frames_of(images))])


def luminance(images: np.ndarray) -> np.ndarray:
    """What `Luminance` gives in its first scale and shift."""
    inputs = (network_input(image, tiny_preset().preprocessing) for image in images)
    return np.stack([x.mean(0).numpy() for x in inputs])


@pytest.mark.parametrize("plan", ["vda", "endodav", "anchored", "overlap-align"])
def test_alignment_undoes_a_scale_and_shift_of_every_window(plan: str):
    images = video(100)
    got = depth_of(engine(Luminance(WANDERING), plan), images)
    np.testing.assert_allclose(got, luminance(images), atol=2e-5)


@pytest.mark.parametrize(("plan", "least", "most"), [("anchored", 0.4, 1), ("endodav", 0, 0.2)])
def test_frame_0_keeps_a_long_video_from_fading(plan: str, least: float, most: float):
    """Where windows err, least squares makes each a little flatter than what it is fitted to."""
    images = np.tile(video(22), (40, 1, 1, 1))
    got = depth_of(engine(Unsure(0.3), plan), images)
    contrast = got[-22:].std() / got[:22].std()
    assert least < contrast < most


def test_without_alignment_the_windows_differ():
    images = video(70)
    got = depth_of(engine(Luminance(WANDERING), "independent"), images)
    want = luminance(images)
    np.testing.assert_allclose(got[:32], want[:32], atol=1e-6)
    np.testing.assert_allclose(got[32:64], 0.5 * want[32:64] + 0.3, atol=1e-6)


def test_blending_fades_over_the_overlap():
    images = np.full((60, 10, 10, 3), 51, np.uint8)
    got = depth_of(engine(Luminance(((1.0, 0.0), (2.0, 0.0))), "overlap-blend"), images)
    want = np.concatenate([np.full(24, 1.0), 1.0 + np.arange(8) / 7, np.full(16, 2.0)])
    np.testing.assert_allclose(got[:48, 0, 0], 0.2 * want, rtol=1e-5)


def test_metric_depth_is_faded_but_not_fitted_and_in_millimetres():
    images = video(60)
    metric = {"kind": Kind.DEPTH, "units": Units.MILLIMETRES, "to_millimetres": 1000.0}
    got = depth_of(engine(Luminance(((1.0, 0.0), (1.5, 0.0))), "vda", **metric), images)
    want = 1000.0 * luminance(images)
    np.testing.assert_allclose(got[:24], want[:24], rtol=1e-5)
    np.testing.assert_allclose(got[32:44], 1.5 * want[32:44], rtol=1e-5)


def test_depth_is_never_negative():
    got = depth_of(engine(Luminance(((1.0, -0.5),))), video(40))
    assert got.min() == 0.0


@pytest.mark.parametrize("count", [1, 2, 5, 33])
def test_frames_keep_their_time_number_and_picture(count: int):
    images = video(count)
    frames = list(engine(Luminance()).run(frames_of(images, fps=30, first=7)))
    assert [f.index for f in frames] == list(range(7, 7 + count))
    assert [float(f.timestamp) for f in frames] == [i / 30 for i in range(7, 7 + count)]
    for frame, image in zip(frames, images, strict=True):
        np.testing.assert_array_equal(frame.image, image)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (2, 40), (37, 3)])
def test_small_frames(shape: tuple[int, int]):
    source = InferenceSettings()
    got = depth_of(engine(Luminance(), settings=source), video(2, *shape))
    assert got.shape == (2, *shape)


def test_output_sizes():
    images = video(2, 20, 40)
    sizes = {"source": (20, 40), "model": (32, 64), (9, 5): (5, 9)}
    for asked, shape in sizes.items():
        settings = InferenceSettings(output_size=asked)
        got = depth_of(engine(Luminance(), settings=settings), images)
        assert got.shape[1:] == shape
        assert got.dtype == np.float32


def test_nothing_is_read_before_it_is_needed():
    read = itertools.count()
    drawn = 0

    def source() -> Iterator[Frame]:
        nonlocal drawn
        for frame in frames_of(video(120)):
            drawn = next(read) + 1
            yield frame

    for frame in engine(Luminance()).run(source()):
        assert drawn <= frame.index + 32
        assert drawn > frame.index


def test_frames_that_are_no_longer_needed_are_released():
    alive: list[weakref.ref[Frame]] = []

    def source() -> Iterator[Frame]:
        for image in video(150):
            frame = Frame(image.copy(), Fraction(len(alive)), len(alive))
            alive.append(weakref.ref(frame))
            yield frame
            del frame

    most = 0
    for _ in engine(Luminance()).run(source()):
        most = max(most, sum(ref() is not None for ref in alive))
    assert most <= 34


def test_a_change_of_resolution_begins_another_video():
    parts = [video(30, 20, 24), video(40, 30, 24, seed=1), video(3, 20, 24, seed=2)]
    every = itertools.chain.from_iterable(
        frames_of(images, first=first) for images, first in zip(parts, (0, 30, 70), strict=True)
    )
    settings = InferenceSettings()
    got = list(engine(ClipMean(), settings=settings).run(every))
    assert [frame.index for frame in got] == list(range(73))
    alone = [depth_of(engine(ClipMean(), settings=settings), images) for images in parts]
    for frame, want in zip(got, itertools.chain(*alone), strict=True):
        np.testing.assert_array_equal(frame.values, want)


def test_no_frames_is_an_input_error():
    with pytest.raises(InputError, match="no frames"):
        list(engine(Luminance()).run([]))


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_is_used_where_asked(precision: str):
    network = Overflowing()
    images = video(3) // 64  # dark enough for float16
    depth_of(engine(network, settings=InferenceSettings(precision)), images)
    assert network.types == [{"fp16": torch.float16, "bf16": torch.bfloat16}[precision]]


def test_overflow_falls_back_to_float32_for_that_window_and_all_later_ones():
    network = Overflowing()
    images = video(60)
    images[:32] //= 64  # the first window fits into float16, the second does not
    with pytest.warns(PrecisionWarning, match=r"endodav-tiny overflows .* float32") as caught:
        half = depth_of(engine(network, settings=InferenceSettings("fp16")), images)
    assert len([w for w in caught if w.category is PrecisionWarning]) == 1
    assert network.types == [torch.float16, torch.float16, torch.float32, torch.float32]
    full = depth_of(engine(Overflowing(), settings=InferenceSettings("fp32")), images)
    np.testing.assert_allclose(half[32:], full[32:], rtol=0.05)
    assert np.isfinite(half).all()


def test_non_finite_depth_in_float32_is_an_error():
    with pytest.raises(WeightsError, match="not finite even in float32"):
        depth_of(engine(Broken()), video(2))


def test_contradicting_windows_are_said_and_stay_positive():
    upside_down = Luminance(((1.0, 0.0), (-1.0, 1.0)))
    with pytest.warns(AlignmentWarning):
        got = depth_of(engine(upside_down, "endodav"), video(40))
    assert got[32:].std() > 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        official = DepthEngine(
            upside_down, tiny_preset(), PLANS["endodav"], MODEL_SIZE, fit=least_squares
        )
        list(official.run(frames_of(video(20))))


def test_image_networks_see_no_filling():
    network = Luminance()
    made = DepthEngine(network, tiny_preset(), IMAGE_PLAN, MODEL_SIZE)
    depth_of(made, video(9))
    assert network.lengths == [4, 4, 1]


def test_video_networks_always_see_a_whole_window():
    network = Luminance()
    depth_of(engine(network), video(25))
    assert network.lengths == [32, 32]


def test_a_window_that_changes_nothing_is_left_out():
    network = Luminance()
    depth_of(engine(network, "overlap-blend"), video(25))
    assert network.lengths == [32]


@pytest.mark.parametrize("length", [8, 12, 32])
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_what_is_not_wanted_has_no_say(
    plan: WindowPlan, length: int, monkeypatch: pytest.MonkeyPatch
):
    videos = [video(count) for count in (1, length - 1, length + 1, 3 * length)]

    def depths() -> list[np.ndarray]:
        own = plan.resized(length)
        networks = (Luminance(WANDERING) for _ in videos)
        made = (DepthEngine(network, tiny_preset(), own, MODEL_SIZE) for network in networks)
        return [depth_of(one, images) for one, images in zip(made, videos, strict=True)]

    sparing = depths()
    monkeypatch.setattr(WindowPlan, "wanted", lambda self, *_: list(range(self.length)))
    for got, want in zip(sparing, depths(), strict=True):
        np.testing.assert_array_equal(got, want)


class Encoding(Luminance):
    """Keeps what it encodes."""

    def encode(self, frames: Tensor) -> list[Tensor]:
        self.encoded = [*getattr(self, "encoded", ()), *frames]
        return super().encode(frames)


@pytest.mark.parametrize("plan", PLANS)
def test_no_frame_is_encoded_twice(plan: str):
    network, images = Encoding(), video(75)
    depth_of(engine(network, plan), images)
    np.testing.assert_allclose(torch.stack(network.encoded).mean(1), luminance(images), atol=1e-6)


def test_a_frame_is_encoded_while_the_first_window_is_still_read():
    network = Encoding()
    waiting: list[int] = []

    def source() -> Iterator[Frame]:
        for count, frame in enumerate(frames_of(video(32))):
            waiting.append(count - len(getattr(network, "encoded", ())))
            yield frame

    for _ in engine(network).run(source()):
        pass
    assert max(waiting) == ENCODED_AT_ONCE - 1


def test_what_is_not_a_depth_network_is_refused():
    with pytest.raises(TypeError, match="Linear is no depth network"):
        engine(nn.Linear(1, 1))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"precision": "fp8"}, "choose from auto, fp32, fp16, bf16"),
        ({"output_size": "huge"}, "choose source, model or a pair"),
        ({"output_size": (0, 5)}, "empty"),
    ],
)
def test_impossible_settings(settings: dict[str, object], says: str):
    with pytest.raises(RecipeError, match=says):
        InferenceSettings(**settings)  # type: ignore[arg-type]
