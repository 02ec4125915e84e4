"""Which frames are in which window, compared with the official programs' own bookkeeping."""

from __future__ import annotations

import pytest

from endodav.errors import RecipeError
from endodav.inference.windows import PLANS, Fit, WindowPlan, choose_plan


def official_windows(count: int, keys: list[int]) -> list[list[int]]:
    """Windows as the official loop makes them, by overwriting positions of each with the last."""
    length, step, inherited = 32, 22, 10
    positions = [*keys, *range(24, 32)]
    windows: list[list[int]] = []
    for start in range(0, count, step):
        window = list(range(start, start + length))
        if windows:
            window[:inherited] = [windows[-1][p] for p in positions]
        windows.append(window)
    return windows


@pytest.mark.parametrize(("name", "keys"), [("vda", [0, 12]), ("endodav", [6, 12])])
@pytest.mark.parametrize("count", [1, 5, 22, 23, 24, 33, 75, 133])
def test_windows_are_the_official_ones(name: str, keys: list[int], count: int):
    windows = [w.frames for w in PLANS[name].windows(lambda index: index < count)]
    assert windows == [tuple(w) for w in official_windows(count, keys)]


def test_key_frames_are_those_of_the_papers():
    third = PLANS["vda"].window(3)
    assert third.frames[:2] == (0, 22 * 3 - 10)
    assert PLANS["endodav"].window(3).frames[:2] == (22 * 3 - 16, 22 * 3 - 10)
    assert third.frames[2:] == tuple(range(68, 98))


def test_fits_are_on_key_frames_or_the_overlap_or_both():
    assert list(PLANS["vda"].fit_positions) == [0, 1]
    assert list(PLANS["endodav"].fit_positions) == list(range(2, 10))
    assert list(PLANS["anchored"].fit_positions) == list(range(10))
    assert list(PLANS["overlap-align"].fit_positions) == list(range(8))
    assert not PLANS["overlap-blend"].fit_positions
    assert not PLANS["independent"].fit_positions


def test_a_window_fades_in_over_its_overlap():
    plan = PLANS["vda"]
    shares = [plan.weight(plan.window(1), position) for position in range(2, 12)]
    assert shares == pytest.approx([*(place / 7 for place in range(8)), 1, 1])
    assert plan.weight(plan.window(0), 2) == 1
    one = plan.resized(overlap=1)
    assert one.weight(one.window(1), 2) == 0, "an overlap of one frame keeps the earlier estimate"
    aligned = PLANS["overlap-align"]
    assert aligned.weight(aligned.window(1), 7) == 0, "so does one that is not blended"


def test_what_has_no_say_is_not_wanted():
    plan = PLANS["vda"]
    assert plan.wanted(plan.window(0), last=False, count=100) == list(range(31))
    assert plan.wanted(plan.window(1), last=False, count=100) == [0, 1, *range(3, 31)]
    assert plan.wanted(plan.window(1), last=True, count=40) == [0, 1, *range(3, 18)]
    assert plan.wanted(plan.window(1), last=True, count=25) == [0, 1], "fits are always made"
    anchored = PLANS["anchored"]
    assert anchored.wanted(anchored.window(1), last=True, count=25) == list(range(10))
    unfitted = PLANS["overlap-blend"]
    assert not unfitted.wanted(unfitted.window(1), last=True, count=25), "all is settled"


def test_a_shorter_window_keeps_its_proportions():
    plan = PLANS["vda"].resized(16)
    assert (plan.length, plan.overlap, plan.keys, plan.step) == (16, 4, (0, 6), 10)


def test_an_official_plan_is_its_own_resize():
    for plan in PLANS.values():
        assert plan.resized() == plan.resized(32) == plan


@pytest.mark.parametrize(
    ("strategy", "max_window", "window", "overlap", "says"),
    [
        ("best", 32, None, None, "There is no strategy 'best'; choose from vda"),
        ("vda", 32, 33, None, "choose at most 32"),
        ("vda", 32, 0, None, "too short"),
        ("vda", 32, -4, None, "too short"),
        ("endodav", 32, 3, None, "choose 4 or more"),
        ("vda", 32, None, 16, "choose 1 to 15"),
        ("overlap-align", 32, None, 0, "choose 1 to 16"),
        ("independent", 32, None, 8, "has no overlap"),
        ("vda", 1, None, None, "needs a video model"),
        ("independent", 1, None, 2, "has no overlap"),
    ],
)
def test_what_cannot_be_done_is_said(
    strategy: str, max_window: int, window: int | None, overlap: int | None, says: str
):
    with pytest.raises(RecipeError, match=says):
        choose_plan(strategy, max_window, window, overlap)


def test_the_shortest_windows_that_are_offered_work():
    assert PLANS["endodav"].resized(4).step == 1
    assert PLANS["overlap-blend"].resized(2).step == 1
    assert PLANS["independent"].resized(1).step == 1


def test_the_window_shrinks_to_what_the_model_allows():
    assert choose_plan("vda", max_window=16).length == 16


def test_key_frames_must_be_in_the_window_before():
    with pytest.raises(RecipeError, match="Position 40"):
        WindowPlan("mine", overlap=8, keys=(0, 40), fit=Fit.KEYS)
