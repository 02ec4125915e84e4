"""Whatever lies in the slots, in the order they tell it is what was to be held."""

from __future__ import annotations

import numpy as np
import torch

from endodav.backends.slots import Slots
from endodav.models.temporal import FrameEntry, TemporalState

WIDTHS = (3, 5)


def entry(number: int, rows: int = 2) -> FrameEntry:
    return tuple(torch.full((rows, 4, width), float(number)) for width in WIDTHS)


def in_order(held: list[np.ndarray]) -> list[np.ndarray]:
    order, *contexts = held
    assert sorted(order) == list(range(len(order)))
    return [context[:, :, np.argsort(order)] for context in contexts]


def wanted(state: TemporalState) -> list[np.ndarray]:
    return [context.numpy() for context in state.contexts()]


def test_slots_follow_a_stream() -> None:
    slots, state = Slots(), TemporalState.start(entry(0))
    for number in range(1, 100):
        np.testing.assert_equal(in_order(slots.hold(state.context())), wanted(state))
        state = state.then(entry(number))


def test_a_step_writes_two_entries() -> None:
    """The newest, and the one that is attended to again because it is now the oldest."""
    slots, state = Slots(), TemporalState.start(entry(0))
    for number in range(1, 60):
        state = state.then(entry(number))
    before = slots.hold(state.context())[1].copy()
    after = slots.hold(state.then(entry(60)).context())[1]
    assert (before != after).any(axis=(0, 1, 3)).sum() == 2


def test_two_streams_and_two_sizes_may_take_turns() -> None:
    slots = Slots()
    states = [TemporalState.start(entry(100 * k, rows=2 + k // 2)) for k in range(3)]
    for number in range(1, 50):
        for k, state in enumerate(states):
            np.testing.assert_equal(in_order(slots.hold(state.context())), wanted(state))
            states[k] = state.then(entry(100 * k + number, rows=2 + k // 2))
