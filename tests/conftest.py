"""What holds for all tests: no deadline, the same examples each time, a ledger of their own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# Small models gain nothing from a second thread, and threads that wait for each other cost much
# on a machine that others use. Set before torch is imported, and inherited by the tests' processes.
os.environ["OMP_NUM_THREADS"] = "1"

# A deadline measures the machine; examples drawn anew each time make a failure hard to see again.
settings.register_profile("regraft", deadline=None, derandomize=True)
settings.load_profile("regraft")


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
