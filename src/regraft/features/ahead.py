"""Make what comes next in a thread while the present is in use."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

_MOST_AHEAD = 2  # one is in use, one ready, one in the making: more would only take memory

T = TypeVar("T")


def ahead(source: Iterable[T]) -> Generator[T]:
    """Yield what a source yields, in its order, made up to two ahead by one thread.

    What the source raises is raised here, where its value would have come. The thread ends with the
    source, or when the consumer stops asking and closes this iterator.

    Example:
        >>> list(ahead(n * n for n in range(4)))
        [0, 1, 4, 9]
    """
    values, end = iter(source), object()
    pool = ThreadPoolExecutor(1, thread_name_prefix="regraft-ahead")
    try:
        waiting = deque(pool.submit(_next, values, end) for _ in range(_MOST_AHEAD))
        while (value := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(_next, values, end))
            yield value
    finally:
        pool.shutdown(cancel_futures=True)


def _next(values: Iterator[Any], end: object) -> Any:
    return next(values, end)
