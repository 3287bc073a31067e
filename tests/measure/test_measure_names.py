from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module

import pytest

import regraft as rg
from regraft import measure

DISTANCES = [
    "TwoSample",
    "c2st",
    "cka",
    "cka_linear",
    "cka_minibatch",
    "coral",
    "energy_distance",
    "energy_test",
    "frechet",
    "frechet_gaussians",
    "median_bandwidth",
    "mmd2",
    "mmd2_block",
    "mmd2_block_test",
    "mmd2_linear",
    "mmd2_linear_test",
    "mmd2_paired",
    "mmd2_paired_test",
    "mmd2_rff",
    "mmd2_test",
    "otdd",
    "proxy_a_distance",
    "sliced_wasserstein",
]


@pytest.mark.parametrize("name", DISTANCES)
def test_distances_are_reached_by_the_names_of_the_field(name: str) -> None:
    assert name in dir(rg.measure)
    assert getattr(rg.measure, name).__name__ == name


def test_every_name_has_the_home_that_is_stated() -> None:
    assert measure.__all__ == sorted(set(measure.__all__))
    for name, home in measure._HOMES.items():
        assert getattr(measure, name) is getattr(import_module(f"regraft.measure.{home}"), name)


def test_a_module_of_the_room_is_never_hidden_by_a_name() -> None:
    assert set(measure._HOMES) & set(measure._HOMES.values()) == set()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"'regraft\.measure' has no attribute 'mmd3'"):
        _ = rg.measure.mmd3


def test_naming_the_room_loads_nothing_heavy() -> None:
    code = (
        "import regraft as rg; dir(rg.measure); import sys, json; "
        "print(json.dumps([n for n in ('torch', 'sklearn', 'scipy', 'ot') if n in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
