"""The streaming memory, against the list that the official program keeps."""

from __future__ import annotations

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
    by_softmax, _ = attention.step(frame, [])
    torch.testing.assert_close(attention(frame), by_softmax)
