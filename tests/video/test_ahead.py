"""Threads that change nothing: the same items in the same order, the same errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from endodav.video.ahead import LONGEST_QUEUE, ahead, behind, each_ahead, queue_length

PATIENCE = 10.0  # seconds before a test gives up waiting for another thread


class BrokenError(Exception):
    """What a stage raises."""


def eventually(holds: object) -> bool:
    """Whether `holds()` comes true."""
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def threads() -> int:
    return sum(thread.name.startswith(("ahead", "behind")) for thread in threading.enumerate())


@pytest.mark.parametrize("length", [1, 3, 50])
def test_the_same_items_in_the_same_order(length):
    assert list(ahead(range(20), length)) == list(range(20))
    assert list(ahead([], length)) == []
    used = []
    with behind(used.append, length) as hand_over:
        for item in range(20):
            hand_over(item)
    assert used == list(range(20))
    assert list(each_ahead(str, range(5))) == list("01234")
    assert threads() == 0


def test_the_next_items_are_made_while_one_is_used_and_no_more():
    made = []

    def make() -> Iterator[int]:
        for item in range(10):
            made.append(item)
            yield item

    items = ahead(make(), 3)
    assert made == []  # nothing happens before the first is asked for
    assert next(items) == 0
    assert eventually(lambda: len(made) == 4)
    time.sleep(0.01)
    assert len(made) == 4
    items.close()
    assert len(made) == 4
    assert threads() == 0


def test_a_bounded_queue_makes_its_writer_wait():
    may_go, used = threading.Event(), []

    def use(item: int) -> None:
        assert may_go.wait(PATIENCE)
        used.append(item)

    with behind(use, 2) as hand_over:
        hand_over(0)
        hand_over(1)
        third = threading.Thread(target=hand_over, args=(2,))
        third.start()
        third.join(0.02)
        assert third.is_alive()
        may_go.set()
        third.join(PATIENCE)
        assert not third.is_alive()
    assert used == [0, 1, 2]


def test_an_error_comes_where_its_item_would_have_come():
    def make() -> Iterator[int]:
        yield from range(3)
        raise BrokenError

    got: list[int] = []
    with pytest.raises(BrokenError):
        got.extend(ahead(make(), 8))
    items = ahead(make(), 8)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(BrokenError):
        next(items)
    with pytest.raises(ZeroDivisionError):
        list(each_ahead(lambda x: 1 // x, [2, 1, 0, 1]))
    assert threads() == 0


@pytest.mark.parametrize("later", [0, 5])
def test_an_error_of_the_user_is_raised_at_a_later_call_or_at_the_end(later):
    used = []

    def use(item: int) -> None:
        used.append(item)
        if item == 1:
            raise BrokenError

    def run() -> None:
        with behind(use, 2) as hand_over:
            hand_over(0)
            hand_over(1)
            for item in range(later):
                assert eventually(lambda: 1 in used)
                hand_over(2 + item)

    with pytest.raises(BrokenError):
        run()
    assert len(used) < 4
    assert threads() == 0


def test_who_stops_early_closes_the_maker():
    closed = []

    def make() -> Iterator[int]:
        try:
            yield from iter(int, 1)  # for ever
        finally:
            closed.append(True)

    items = ahead(make(), 4)
    next(items)
    items.close()
    assert closed == [True]
    assert threads() == 0


@pytest.mark.parametrize("error", [BrokenError, KeyboardInterrupt])
def test_an_error_cancels_what_waits(error):
    begun, may_go, used = threading.Event(), threading.Event(), []

    def use(item: int) -> None:
        begun.set()
        assert may_go.wait(PATIENCE)
        used.append(item)

    def run() -> None:
        with behind(use, 4) as hand_over:
            for item in range(4):
                hand_over(item)
            assert begun.wait(PATIENCE)
            threading.Timer(0.01, may_go.set).start()
            raise error

    with pytest.raises(error):
        run()
    assert used == [0]
    assert threads() == 0


def test_queues_are_bounded_in_bytes_and_items():
    assert queue_length(1920 * 1080 * 3) == 24
    assert queue_length(7680 * 4320 * 7) == 1
    assert queue_length(0) == queue_length(100) == LONGEST_QUEUE
