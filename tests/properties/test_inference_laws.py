"""Laws of windows, alignment and the engine, for any video and any plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from endodav.errors import RecipeError
from endodav.inference.alignment import least_squares, moments
from endodav.inference.engine import DepthEngine
from endodav.inference.preprocess import PATCH, lower_bound_size
from endodav.inference.settings import InferenceSettings
from endodav.inference.windows import IMAGE_PLAN, PLANS, WindowPlan
from endodav.models.presets import PRESETS
from endodav.types import Frame
from endodav.video.source import open_source


class Mixing(nn.Module):
    """Every output depends on every frame of the clip, without a network's cost."""

    def encode(self, frames: Tensor) -> list[Tensor]:
        return [frames.mean(dim=1, keepdim=True)[:, :, ::7, ::7]]

    def decode(self, maps: list[Tensor], wanted: Sequence[int] | None = None) -> Tensor:
        depth = maps[0][:, 0]
        order = torch.linspace(1.0, 1.1, len(depth))[:, None, None]
        mixed = (depth - depth.min() + 0.2 * depth.mean(0)) * order
        return mixed if wanted is None else mixed[list(wanted)]


# Numbers of a plan; the plan is made in the test, because the checks of annotations draw random
# samples, which hypothesis forbids while it draws its own.
plans = st.tuples(
    st.sampled_from([*PLANS, "images"]), st.integers(1, 40), st.none() | st.integers(0, 20)
)
Numbers = tuple[str, int, int | None]


def plan_of(numbers: Numbers) -> WindowPlan:
    """The plan, or another example where there is none."""
    name, length, overlap = numbers
    try:
        return (PLANS | {"images": IMAGE_PLAN})[name].resized(length, overlap)
    except RecipeError:
        assume(False)
        raise


def frames(count: int) -> Iterator[Frame]:
    rng = np.random.default_rng(count)
    for index in range(count):
        image = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        yield Frame(image, Fraction(index, 25), index)


def run(plan: WindowPlan, source: Iterator[Frame]) -> np.ndarray:
    preset = PRESETS["endodav-tiny"]
    options = InferenceSettings(input_size=16, output_size="model")
    engine = DepthEngine(Mixing(), preset, plan, options, fit=least_squares)
    got = list(engine.run(source))
    assert [frame.index for frame in got] == list(range(len(got)))
    return np.stack([frame.values for frame in got])


@given(numbers=plans, count=st.integers(1, 200))
def test_each_frame_is_settled_exactly_once(numbers: Numbers, count: int):
    plan = plan_of(numbers)
    windows = list(plan.windows(lambda index: index < count))
    settled = Counter(
        window.frames[position]
        for window in windows
        for position in plan.settled(window, last=window is windows[-1])
    )
    assert [settled[index] for index in range(count)] == [1] * count


@given(numbers=plans, number=st.integers(1, 50))
def test_what_a_window_inherits_was_in_the_window_before(numbers: Numbers, number: int):
    plan = plan_of(numbers)
    before, window = plan.window(number - 1), plan.window(number)
    assert len(window.frames) == plan.length
    assert set(window.frames[: plan.inherited]) <= set(before.frames)
    assert window.frames[plan.inherited] == before.frames[-1] + 1


@given(numbers=plans, number=st.integers(2, 50))
def test_no_frame_is_blended_twice(numbers: Numbers, number: int):
    plan = plan_of(numbers)
    overlaps = [
        set(plan.window(k).frames[len(plan.keys) : plan.inherited]) for k in (number - 1, number)
    ]
    assert not overlaps[0] & overlaps[1]


@settings(deadline=None, max_examples=12)
@given(numbers=plans, count=st.integers(1, 60))
def test_every_frame_comes_out_once_and_finite(numbers: Numbers, count: int):
    plan = plan_of(numbers)
    depth = run(plan, frames(count))
    assert len(depth) == count
    assert np.isfinite(depth).all()
    assert depth.min() >= 0


@settings(deadline=None, max_examples=6)
@given(numbers=plans, count=st.integers(2, 50), cut=st.integers(1, 49))
def test_chunked_is_whole(numbers: Numbers, count: int, cut: int):
    """An array, and a generator that pauses wherever it likes, give the same bits."""
    plan = plan_of(numbers)
    images = np.stack([frame.image for frame in frames(count)])

    def chunks() -> Iterator[np.ndarray]:
        yield from images[:cut]
        yield from images[cut:]

    with open_source(images) as whole, open_source(chunks()) as chunked:
        np.testing.assert_array_equal(run(plan, iter(whole)), run(plan, iter(chunked)))


@settings(deadline=None, max_examples=5)
@given(name=st.sampled_from(sorted(PLANS)), count=st.integers(33, 60), more=st.integers(1, 30))
def test_what_is_settled_does_not_depend_on_what_follows(name: str, count: int, more: int):
    """Frames of whole windows before the end are the same when the video goes on."""
    plan = PLANS[name]
    images = list(frames(count + more))
    short, long = run(plan, iter(images[:count])), run(plan, iter(images))
    windows_in_full = (count - plan.length) // plan.step + 1
    final = plan.step * (windows_in_full - 1) + plan.length - plan.overlap
    np.testing.assert_array_equal(short[:final], long[:final])


@given(
    scale=st.floats(0.01, 100),
    shift=st.floats(-10, 10),
    height=st.integers(2, 20),
    width=st.integers(2, 20),
)
def test_alignment_recovers_scale_and_shift(scale: float, shift: float, height: int, width: int):
    x = torch.rand(height, width, generator=torch.Generator().manual_seed(height * width))
    fit = least_squares(moments(x, x * scale + shift))
    assert fit.scale == pytest.approx(scale, rel=1e-3, abs=1e-4 * (1 + abs(shift)))
    assert fit.shift == pytest.approx(shift, rel=1e-3, abs=1e-4 * (1 + scale))


@given(
    height=st.integers(1, 5000),
    width=st.integers(1, 5000),
    target=st.tuples(st.integers(14, 700), st.integers(14, 700)),
)
def test_network_sizes_are_whole_patches_that_cover_the_target(height, width, target):
    rows, columns = lower_bound_size(height, width, target)
    assert rows % PATCH == columns % PATCH == 0
    assert rows >= target[0]
    assert columns >= target[1]
