"""What the peer's grid takes where it was ended early, or trained in part beside other work."""

from __future__ import annotations

import json
import math
import sys
from argparse import Namespace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks"
PREPARE = 1000.0
KINDS = {  # seconds of a candidate; all differ, also from the means of any two
    "probe-seed0": 1.0,
    "probe-seed1": 3.0,
    "upper-half": 10.0,
    "upper-third": 14.0,
    "lora-rank8": 100.0,
    "lora-rank16": 130.0,
    "full-seed0": 500.0,
    "full-seed1": 700.0,
}
RATES = 3


@pytest.fixture(scope="module")
def ladder() -> Iterator[Any]:
    """Give the script, which imports what lies beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield import_module("ladder")
        for name in [one for one in sys.modules if one.split(".")[0] in {"ladder", "peers"}]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def names(ladder: Any) -> list[str]:
    return [one.name for one in ladder.grid()]


def kind_of(name: str) -> str:
    return next(kind for kind in KINDS if name.startswith(f"{kind}-"))


def ran(name: str, seconds: float | None = None, **more: Any) -> dict[str, Any]:
    """Return a candidate that took what its kind takes, if it is not said."""
    return {"name": name, "seconds": KINDS[kind_of(name)] if seconds is None else seconds, **more}


def record(*candidates: dict[str, Any]) -> dict[str, Any]:
    """Return a grid's record, its seconds those of its candidates and 77 for the sealed items."""
    seconds = PREPARE + sum(one["seconds"] for one in candidates) + 77.0
    return {"candidates": list(candidates), "prepare_seconds": PREPARE, "seconds": seconds}


def test_the_grid_has_three_rates_of_eight_kinds(names: list[str]) -> None:
    assert len(names) == len(set(names)) == 24
    assert [sum(kind_of(one) == kind for one in names) for kind in KINDS] == [RATES] * len(KINDS)


def test_a_whole_grid_takes_the_sum_of_what_its_candidates_took(
    ladder: Any, names: list[str]
) -> None:
    found = record(*(ran(name, 2.0**i) for i, name in enumerate(names)))
    others = [ran(name, 1e9) for name in names]
    for timed in (found["candidates"], others, []):
        assert ladder.whole_seconds(found, timed, "") == PREPARE + 2.0**24 - 1


def test_one_rate_of_each_kind_prices_the_whole_by_how_many_there_are_of_the_kind(
    ladder: Any, names: list[str]
) -> None:
    found = record(*(ran(name) for name in names[: len(KINDS)]))  # of each kind the middle rate
    whole = PREPARE + RATES * sum(KINDS.values())
    assert ladder.whole_seconds(found, found["candidates"], "") == pytest.approx(whole)


def test_what_ran_counts_with_its_own_seconds_and_what_is_left_with_the_mean_of_its_kind(
    ladder: Any,
) -> None:
    slow, fast = ran("full-seed0-3e-05", 40.0), ran("full-seed0-0.0001", 20.0)
    found = record(slow, fast)
    assert ladder.whole_seconds(found, [slow, fast], "^full-seed0-") == PREPARE + 40 + 20 + 30
    other_seed = [slow, fast, ran("full-seed0-0.0001", 90.0), ran("full-seed1-0.0001", 1e9)]
    assert ladder.whole_seconds(found, other_seed, "^full-seed0-") == PREPARE + 40 + 20 + 50


def test_only_what_was_asked_for_is_priced(ladder: Any) -> None:
    found = record(ran("probe-seed0-0.003"))
    timed = [ran(f"{kind}-1") for kind in KINDS]
    probes = PREPARE + RATES * (KINDS["probe-seed0"] + KINDS["probe-seed1"])
    assert ladder.whole_seconds(found, timed, "^probe") == pytest.approx(probes)


@pytest.mark.parametrize(
    ("timed", "seconds"),
    [
        ({"lora-rank8-0.001": 7.0, "lora-rank8-0.003": 9.0, "lora-rank16-0.001": 50.0}, 8.0),
        ({"lora-rank16-0.001": 50.0, "lora-rank16-0.003": 60.0, "full-seed0-1": 5.0}, 55.0),
    ],
)
def test_a_candidate_takes_what_its_kind_took_or_else_its_protocol(
    ladder: Any, timed: dict[str, float], seconds: float
) -> None:
    took = [ran(*one) for one in timed.items()]
    assert ladder.kind_seconds("lora-rank8-0.0003", took) == seconds


def test_a_rank_is_not_taken_for_another_that_it_begins(ladder: Any) -> None:
    timed = [{"name": "lora-rank80-1", "seconds": 7.0}, {"name": "lora-rank8-1", "seconds": 2.0}]
    assert ladder.kind_seconds("lora-rank8-0.0003", timed) == 2.0


def test_where_nothing_of_a_protocol_was_timed_the_whole_is_not_known(
    ladder: Any, names: list[str]
) -> None:
    timed = [ran(name) for name in names if not name.startswith("full-")]
    assert math.isnan(ladder.kind_seconds("full-seed0-0.0001", timed))
    assert math.isnan(ladder.whole_seconds(record(*timed), timed, ""))
    assert not math.isnan(ladder.whole_seconds(record(*timed), timed, "^(probe|upper|lora)"))


def test_untimed_candidates_count_with_the_seconds_of_their_kind(ladder: Any) -> None:
    timed = [ran("probe-seed0-0.003", 4.0), ran("lora-rank8-0.001", 20.0)]
    untimed = [
        ran("probe-seed0-0.0009", 999.0, timed=False),
        ran("lora-rank8-0.003", 999.0, timed=False),
    ]
    found = record(*timed, *untimed)
    priced = ladder.priced(found, [*timed, ran("probe-seed0-0.009", 6.0)])
    assert [one["seconds"] for one in priced["candidates"]] == [4.0, 20.0, 5.0, 20.0]
    assert priced["seconds"] == PREPARE + 4 + 20 + 5 + 20  # without the 77 for the sealed items
    assert priced["priced"] == 2
    assert [one["seconds"] for one in found["candidates"]] == [4.0, 20.0, 999.0, 999.0]


def test_an_untimed_candidate_whose_protocol_was_never_timed_leaves_the_sum_unknown(
    ladder: Any,
) -> None:
    timed = [ran("probe-seed0-0.003")]
    found = record(*timed, ran("full-seed0-0.0001", timed=False))
    assert math.isnan(ladder.priced(found, timed)["seconds"])


def test_a_grid_that_was_timed_throughout_stays_as_it_is(ladder: Any) -> None:
    found = record(ran("probe-seed0-0.003"), ran("full-seed0-0.0001", timed=True))
    assert ladder.priced(found, [ran("probe-seed0-0.003", 1e9)]) is found


def test_a_part_with_untimed_candidates_is_priced_to_its_whole(ladder: Any) -> None:
    timed = [ran("upper-half-0.0001", 10.0)]
    found = ladder.priced(record(*timed, ran("upper-half-3e-05", 999.0, timed=False)), timed)
    whole = PREPARE + RATES * 10.0 + RATES * 10.0  # `third` was never timed: as its protocol
    assert ladder.whole_seconds(found, timed, "^upper-") == whole


def test_the_prices_are_those_of_all_seeds_of_the_task_on_an_idle_machine(
    ladder: Any, tmp_path: Path
) -> None:
    grids = {
        "sst2-0/grid": [ran("probe-seed0-0.003", 1.0), ran("probe-seed1-0.003", timed=False)],
        "sst2-1/grid": [ran("probe-seed0-0.003", 2.0, timed=True)],
        "sst2-1/optuna": [ran("probe-seed0-0.003", 3.0)],
        "flowers5-0/grid": [ran("probe-seed0-0.003", 4.0)],
    }
    for name, candidates in grids.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        text = json.dumps(record(*candidates))
        (tmp_path / f"{name}.json").write_text(text, encoding="utf-8")
    found = ladder.timed_candidates(Namespace(out=tmp_path), "sst2")
    assert sorted(one["seconds"] for one in found) == [1.0, 2.0]
