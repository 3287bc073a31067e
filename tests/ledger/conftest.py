from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from regraft.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Return a new ledger with a study and an open run in it."""
    ledger = Ledger.open(tmp_path / "home")
    ledger.studies.create("study", name="bees", configuration={"budget": 60.0})
    ledger.runs.add(
        "study", "run", protocol="probe", role="control", reason="first", configuration={"seed": 1}
    )
    yield ledger
    ledger.close()
