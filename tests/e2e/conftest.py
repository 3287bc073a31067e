"""What tests of whole studies share."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from small_study import AMPLE, write_protocols
from undisturbed import Undisturbed, undisturbed


@pytest.fixture
def one_thread() -> Any:
    """Compute with as many threads as the processes that are killed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def protocols(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_protocols(tmp_path_factory.mktemp("protocols"))


@pytest.fixture(scope="module")
def ample(tmp_path_factory: pytest.TempPathFactory, protocols: list[str]) -> Undisturbed:
    return undisturbed(tmp_path_factory.mktemp("ample"), protocols, AMPLE)
