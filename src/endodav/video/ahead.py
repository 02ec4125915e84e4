"""Work on one item while others are made and used: bounded, in order, nothing lost on an error.

Everything here is a plain loop taken apart. One thread does the work, one item after the other, so
order and results are those of the loop. An error travels, with its class, to where the loop would
have had it or soon after. Whoever stops early (an error of his own, Ctrl-C) cancels what waits and
waits for the item at hand, never for more; the threads end with the program.

It pays where the work leaves Python's lock alone: FFmpeg, NumPy, PyTorch, files.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")

QUEUE_BYTES = 144 * 2**20  # of frames in one queue: a window's 22 of 1280x720 with their depth
LONGEST_QUEUE = 32  # frames of a window, which arrive and leave at once
_END: Any = object()


def queue_length(item_bytes: int) -> int:
    """How many items of that size may wait in one queue: at least one, a window at most."""
    return min(max(QUEUE_BYTES // max(item_bytes, 1), 1), LONGEST_QUEUE)


def ahead(items: Iterable[Item], length: int = 1) -> Generator[Item, None, None]:
    """The same items; another thread makes the next ones while each is used.

    Args:
        items: gone through in that thread; a generator is closed when this one is.
        length: how many may be ready before they are asked for.

    Raises:
        Exception: what making an item raised, where that item would have come.
    """
    iterator = iter(items)
    waiting = deque[Future[Item]]()
    try:
        with ThreadPoolExecutor(1, "ahead") as pool, _cancelled(waiting):
            waiting.extend(pool.submit(next, iterator, _END) for _ in range(length))
            while (item := waiting.popleft().result()) is not _END:
                waiting.append(pool.submit(next, iterator, _END))
                yield item
    finally:
        if isinstance(iterator, Generator):
            iterator.close()


def each_ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """What `make` gives for each item, in order; two are made at once, as files decode."""
    waiting = deque[Future[Made]]()
    with ThreadPoolExecutor(2, "ahead") as pool, _cancelled(waiting):
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > 2:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def behind(use: Callable[[Item], object], length: int = 1) -> Iterator[Callable[[Item], None]]:
    """A function that leaves `use(item)` to another thread, and returns at once.

    Leaving the context without an error waits until everything has been used; an error cancels what
    waits.

    Args:
        use: called in that thread, in the order of the calls.
        length: how many items may wait; one more waits for its place.

    Raises:
        Exception: what `use` raised, at a later call or when the context is left.
    """
    waiting = deque[Future[object]]()

    def hand_over(item: Item) -> None:
        while waiting and (len(waiting) >= length or waiting[0].done()):
            waiting.popleft().result()
        waiting.append(pool.submit(use, item))

    with ThreadPoolExecutor(1, "behind") as pool, _cancelled(waiting):
        yield hand_over
        while waiting:
            waiting.popleft().result()


@contextmanager
def _cancelled(waiting: Iterable[Future[Any]]) -> Iterator[None]:
    """Cancel what still waits when the context is left, so that its threads end soon."""
    try:
        yield
    finally:
        for future in waiting:
            future.cancel()
