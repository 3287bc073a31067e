from __future__ import annotations

import pytest

from small_backbones import save_all


@pytest.fixture(scope="session")
def references(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return a small random backbone of every family, by family."""
    return save_all(tmp_path_factory.mktemp("backbones"))
