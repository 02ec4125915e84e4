"""The streaming memory, against the list that the official program keeps."""

from __future__ import annotations

import pytest
import torch

from endodav.models.temporal import (
    STATE_LENGTH,
    TemporalAttention,
    TemporalState,
    position_code,
)


def seen(state: TemporalState) -> list[int]:
    return [int(entry[0]) for entry in state.context()]


def test_context_follows_the_official_list() -> None:
    """32 copies of the first frame; each is appended, and from frame 11 on the second goes."""
    listed = [0] * 32
    state = TemporalState.start((torch.tensor(0),))
    for frame in range(1, 100):
        assert seen(state) == [*listed[:2], *listed[-29:]]
        state = state.then((torch.tensor(frame),))
        listed.append(frame)
        if frame >= 11:
            del listed[1]


def test_memory_is_bounded_and_settles() -> None:
    state = TemporalState.start((torch.tensor(0),))
    for frame in range(1, 200):
        state = state.then((torch.tensor(frame),))
        assert len(state.entries) == STATE_LENGTH
    assert seen(state) == [0, 200 - 41, *range(200 - 29, 200)]


def test_position_code_is_sine_and_cosine() -> None:
    code = position_code(32, 64)
    assert code.shape == (32, 64)
    torch.testing.assert_close(code[5, 0], torch.tensor(5.0).sin())
    torch.testing.assert_close(code[5, 1], torch.tensor(5.0).cos())
    torch.testing.assert_close(code[7, 2], (torch.tensor(7.0) * 10_000 ** (-2 / 64)).sin())


def test_a_frame_alone_attends_to_itself() -> None:
    torch.manual_seed(0)
    attention = TemporalAttention(32)
    frame = torch.randn(5, 1, 32)
    alone, _ = attention.step(frame, None)
    torch.testing.assert_close(alone, attention(frame))


@pytest.mark.parametrize("order", [None, [0, 1, 2, 3, 4, 5], [4, 0, 5, 2, 1, 3]])
def test_the_newest_frame_takes_what_it_takes_in_a_clip(order: list[int] | None) -> None:
    """Whatever order the earlier frames lie in, if their places in time are told."""
    torch.manual_seed(0)
    attention = TemporalAttention(32).double()
    clip = torch.randn(5, 7, 32).double()
    left = torch.stack([attention.step(frame[:, None], None)[1] for frame in clip.unbind(1)], 1)
    places = None if order is None else torch.tensor(order)
    context = left[:, :-1] if places is None else left[:, places]
    newest, own = attention.step(clip[:, -1:], context, places)
    torch.testing.assert_close(newest, attention(clip)[:, -1:])
    torch.testing.assert_close(own, left[:, -1])
