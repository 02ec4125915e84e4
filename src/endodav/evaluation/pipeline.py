"""Work on one item while the next is being prepared."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")
END: Any = object()


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items; another thread makes each next one while the last is used.

    Pays where both sides spend their time in NumPy or in files, which let other threads run. An
    error of the maker is raised where its item would have come.
    """
    iterator = iter(items)
    with ThreadPoolExecutor(1, "ahead") as pool:
        future = pool.submit(next, iterator, END)
        while (item := future.result()) is not END:
            future = pool.submit(next, iterator, END)
            yield item


def each_ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """What `make` gives for each item, in order; two are made at once, as files decode."""
    with ThreadPoolExecutor(2, "ahead") as pool:
        waiting = deque[Future[Made]]()
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > 2:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
