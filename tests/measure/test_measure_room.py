from __future__ import annotations

import subprocess
import sys
from pkgutil import iter_modules

import pytest

import regraft as rg
from regraft import measure


@pytest.mark.parametrize("name", sorted(measure._HOMES))
def test_every_name_of_the_room_is_reached_through_it(name: str) -> None:
    for _ in range(2):  # an imported module of the same name would hide the function
        found = getattr(rg.measure, name)
        assert found.__name__ == name
        assert found.__module__.startswith("regraft.measure.")


def test_no_module_hides_a_name() -> None:
    assert {one.name for one in iter_modules(measure.__path__)} & set(measure._HOMES) == set()


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match=r"'regraft\.measure' has no attribute 'ecce'"):
        _ = measure.ecce


def test_the_room_opens_without_its_tools() -> None:
    code = "import sys, regraft as rg; rg.measure; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
