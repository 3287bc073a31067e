from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from regraft.features.ahead import ahead

if TYPE_CHECKING:
    from collections.abc import Iterator


def loaders() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("regraft-ahead")]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 50])
def test_all_values_come_in_order_and_the_thread_ends(n: int) -> None:
    assert list(ahead(iter(range(n)))) == list(range(n))
    assert loaders() == []


def test_the_next_value_is_made_by_another_thread_while_the_present_one_is_in_use() -> None:
    made = [threading.Event() for _ in range(4)]
    makers = set()

    def source() -> Iterator[int]:
        for number, event in enumerate(made):
            makers.add(threading.current_thread().name)
            event.set()
            yield number

    for number in ahead(source()):
        assert made[min(number + 1, 3)].wait(timeout=60)
    assert makers == {"regraft-ahead_0"}


def test_no_more_than_two_are_made_ahead() -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    for number in ahead(source()):
        assert len(made) <= number + 3
    assert len(made) == 20


def test_what_the_source_raises_reaches_the_caller_in_its_place() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise FileNotFoundError("photo 3 vanished")

    values = ahead(source())
    assert [next(values), next(values)] == [1, 2]
    with pytest.raises(FileNotFoundError, match="photo 3 vanished"):
        next(values)
    assert loaders() == []


def test_the_thread_ends_when_the_consumer_stops_early() -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for number in range(1000):
            made.append(number)
            yield number

    values = ahead(source())
    assert next(values) == 0
    assert len(loaders()) == 1
    values.close()
    assert loaders() == []
    assert len(made) <= 4


def test_nothing_is_made_before_it_is_asked_for() -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        made.append(1)
        yield 1

    values = ahead(source())
    assert loaders() == []
    assert made == []
    values.close()
