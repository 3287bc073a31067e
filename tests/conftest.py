"""What holds for all tests: no deadline, the same examples each time, a ledger of their own."""

from __future__ import annotations

import gc
import os
import resource
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from contextlib import AbstractContextManager

# Small models gain nothing from a second thread, and threads that wait for each other cost much
# on a machine that others use. Set before torch is imported, and inherited by the tests' processes.
os.environ["OMP_NUM_THREADS"] = "1"

# A deadline measures the machine; examples drawn anew each time make a failure hard to see again.
settings.register_profile("regraft", deadline=None, derandomize=True)
settings.load_profile("regraft")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while tests are collected: what they import stays.

    It takes a fifth of the time of collecting them, and would be looked through again during tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True, scope="session")
def _ledger_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests, and the processes they start, out of the user's own ledger."""
    before = os.environ.get("REGRAFT_HOME")
    os.environ["REGRAFT_HOME"] = str(tmp_path_factory.mktemp("home"))
    yield
    if before is None:
        del os.environ["REGRAFT_HOME"]
    else:
        os.environ["REGRAFT_HOME"] = before


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes: the write fails, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


@pytest.fixture
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    return files_of_at_most
