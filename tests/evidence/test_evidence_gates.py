"""Gates: an ingredient stays only where it beats its off-switch, and what does not cannot win."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from regraft.evidence.gates import Gate, Switch, dropped_arms, judge_gates
from regraft.evidence.verdict import (
    CANDIDATE,
    WITHOUT_FINE_TUNING,
    WITHOUT_TRANSFER,
    ArmResult,
    Verdict,
    decide_verdict,
)
from regraft.measure.comparison import holm, paired_bootstrap

N = 400
LABELS = np.arange(N) % 2


def scores(right: int, *, first: int = 0) -> np.ndarray[Any, Any]:
    """Return probabilities (1, N, 2) that get `right` items right, from item `first` on."""
    is_right = (np.arange(N) - first) % N < right
    guess = np.where(is_right, LABELS, 1 - LABELS)
    return np.where(np.eye(2)[guess] > 0, 0.8, 0.2)[None]


def judged(
    switches: list[Switch], *, status: str = "skipped", **arms: np.ndarray[Any, Any]
) -> tuple[Gate, ...]:
    titles = {key: key.upper() for one in switches for key in (one.protocol, one.off)}
    return judge_gates(
        switches,
        arms,
        LABELS,
        titles=titles,
        statuses=dict.fromkeys(titles.keys() - arms.keys(), status),
        metric="accuracy",
        costs=None,
        seed=0,
    )


def decided(gates: tuple[Gate, ...], **arms: np.ndarray[Any, Any]) -> Verdict:
    results = [ArmResult(k, k.upper(), CANDIDATE, v, 10.0) for k, v in arms.items()]
    results += [
        ArmResult("raw", "RAW", WITHOUT_TRANSFER, scores(200), 1.0),
        ArmResult("probe", "PROBE", WITHOUT_FINE_TUNING, scores(250), 1.0),
    ]
    return decide_verdict(results, LABELS, metric="accuracy", costs=None, seed=0, gates=gates)


AUGMENTED = Switch("with", "light augmentation", "bare")


def test_an_ingredient_that_beats_its_off_switch_stays() -> None:
    (gate,) = judged([AUGMENTED], **{"with": scores(380), "bare": scores(340)})
    assert gate.passed
    alone = paired_bootstrap("accuracy", scores(380), scores(340), LABELS, seed=0)
    assert gate.comparison is not None
    assert (gate.comparison.difference, gate.comparison.p) == (alone.difference, alone.p)
    assert gate.text.startswith("kept: light augmentation beat its off-switch, BARE: +.100 [+")
    found = decided((gate,), **{"with": scores(380), "bare": scores(340)})
    assert (found.winner, found.leader) == ("with", "with")
    assert found.gates == (gate,)
    assert not any("dropped" in one for one in found.reasons)


def test_an_ingredient_that_ties_with_its_off_switch_cannot_win() -> None:
    arms = {"with": scores(382), "bare": scores(380)}
    gates = judged([AUGMENTED], **arms)
    assert not gates[0].passed
    assert decided((), **arms).leader == "with"
    found = decided(gates, **arms)
    assert (found.kind, found.winner, found.leader) == ("recommend", "bare", "bare")
    assert "with" not in found.tied
    assert found.comparisons["with"].difference == pytest.approx(-0.005)  # still shown
    (reason,) = [one for one in found.reasons if one.startswith("dropped")]
    assert reason == gates[0].text
    assert reason.startswith(
        "dropped: light augmentation did not beat its off-switch, BARE: +.005 ["
    )


def test_an_ingredient_that_harms_is_dropped_too() -> None:
    (gate,) = judged([AUGMENTED], **{"with": scores(300), "bare": scores(380)})
    assert not gate.passed
    assert gate.comparison is not None
    assert gate.comparison.is_worse


def test_gates_are_corrected_for_their_number_over_the_study() -> None:
    arms = {"a": scores(386), "b": scores(386), "c": scores(381), "off": scores(380)}
    switches = [Switch(key, f"ingredient {key}", "off") for key in "abc"]
    (alone,) = judged(switches[:1], **arms)
    assert alone.passed
    together = judged(switches, **arms)
    ps = [one.comparison.p for one in together if one.comparison]
    adjusted = [one.comparison.p_adjusted for one in together if one.comparison]
    assert adjusted == holm(ps)
    assert adjusted[0] == pytest.approx(3 * ps[0])
    assert [one.passed for one in together] == [a < 0.05 for a in adjusted if a is not None]
    assert not together[0].passed  # what alone would have passed


def test_of_several_ingredients_each_is_judged_and_one_that_fails_drops_the_arm() -> None:
    switches = [
        Switch("both", "light augmentation", "smoothed"),
        Switch("both", "label smoothing 0.1", "augmented"),
        Switch("smoothed", "label smoothing 0.1", "bare"),
        Switch("augmented", "light augmentation", "bare"),
    ]
    arms = {
        "both": scores(391),
        "augmented": scores(390),
        "smoothed": scores(341),
        "bare": scores(340),
    }
    gates = judged(switches, **arms)
    assert [one.passed for one in gates] == [True, False, False, True]
    assert dropped_arms(gates) == {"both", "smoothed"}
    found = decided(gates, **arms)
    assert (found.winner, found.leader) == ("augmented", "augmented")


def test_seeds_that_both_have_are_compared() -> None:
    lucky, fair = scores(390), scores(340)
    gates = judged([AUGMENTED], **{"with": np.concatenate([fair, lucky]), "bare": fair})
    assert gates[0].comparison is not None
    assert gates[0].comparison.difference == 0.0
    assert not gates[0].passed


def test_what_has_no_off_switch_to_meet_is_dropped_and_what_did_not_run_is_not_judged() -> None:
    (gate,) = judged([AUGMENTED], **{"with": scores(390)})
    assert gate.text == "dropped: light augmentation, as BARE was skipped"
    found = decided((gate,), **{"with": scores(390)})
    assert found.winner == "probe"
    assert gate.text in found.reasons
    (gate,) = judged([AUGMENTED], **{"bare": scores(390)})
    assert gate.text == "not judged: light augmentation, as WITH was skipped"
    found = decided((gate,), **{"bare": scores(390)})
    assert found.winner == "bare"
    assert gate.text not in found.reasons


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("failed", "not judged: light augmentation, as WITH failed"),
        ("eliminated", "dropped: light augmentation, as WITH dropped out of the race"),
    ],
)
def test_what_the_race_leaves_behind_is_dropped_and_what_failed_is_not_judged(
    status: str, text: str
) -> None:
    (gate,) = judged([AUGMENTED], status=status, **{"bare": scores(390)})
    assert (gate.passed, gate.comparison, gate.text) == (False, None, text)


def test_the_plain_form_has_every_figure_or_null() -> None:
    (gate,) = judged([AUGMENTED], **{"with": scores(380), "bare": scores(340)})
    plain = json.loads(json.dumps(gate.to_json()))
    assert {
        "protocol", "ingredient", "off", "difference", "low", "high", "p", "p_adjusted", "n",
        "estimator", "seeds", "tie", "no_interval", "passed", "text",
    } <= set(plain)  # fmt: skip
    assert plain["seeds"] == [1, 1]
    assert (plain["protocol"], plain["off"], plain["n"]) == ("with", "bare", N)
    assert plain["estimator"].startswith("paired bootstrap")
    twice = np.concatenate([scores(380), scores(379)])
    (gate,) = judged([AUGMENTED], **{"with": twice, "bare": twice.repeat(2, axis=0)})
    assert gate.to_json()["seeds"] == [2, 2]  # of four runs of the other two are compared
    (gate,) = judged([AUGMENTED], **{"with": scores(380)})
    assert {gate.to_json()[key] for key in ("difference", "low", "high", "p", "n")} == {None}


def test_a_study_without_ingredients_is_decided_as_ever() -> None:
    assert judged([]) == ()
    arms = {"with": scores(382), "bare": scores(380)}
    assert decided((), **arms).gates == ()
