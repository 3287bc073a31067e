"""Benchmarks keep up with the library: what they import of it is there."""

from __future__ import annotations

import ast
import importlib
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "benchmarks").rglob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_script_imports_of_regraft_is_there(script: Path) -> None:
    tree = ast.parse(script.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("regraft"):
            module = importlib.import_module(str(node.module))
            missing = [
                one.name
                for one in node.names
                if not hasattr(module, one.name) and find_spec(f"{node.module}.{one.name}") is None
            ]
            assert not missing, f"{node.module} has no {missing}"
