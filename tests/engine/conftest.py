from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from regraft.backbones.loading import load_backbone
from small_backbones import save_all

if TYPE_CHECKING:
    from regraft.backbones.backbone import Backbone


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Backbone]:
    """Return a small random backbone of every family; no test changes one."""
    saved = save_all(tmp_path_factory.mktemp("families"))
    return {family: load_backbone(reference) for family, reference in saved.items()}
