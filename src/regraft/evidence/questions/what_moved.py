"""What moved? The features before and after adaptation, by depth, and whether gain goes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regraft.evidence.cells import cells_of, limits_json
from regraft.evidence.movement import MMD_BY
from regraft.evidence.questions.asked import Answered
from regraft.evidence.words import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.evidence.arm import ArmEvidence
    from regraft.evidence.questions.asked import Answer, Asked


KEY, QUESTION = "moved", "What moved?"

_SIGNIFICANT = 0.05
_CORRELATED_BY = "Spearman's ρ; bootstrap interval over cells, permutation p"


def answered(asked: Asked) -> Answered:
    """Answer for the arm that stands for transfer, and for all adapted arms as cells.

    Where that arm adapted nothing, as the linear probe, the first finalist that did is told of.
    """
    evidence = asked.evidence
    finalists = [one for one in evidence.arms if one.key in evidence.depths]
    ours = next((one for one in (asked.ours, *finalists) if one.movement), asked.ours)
    titles = {one.key: one.title for one in evidence.arms}
    limits = limits_json(cells_of(evidence), seed=asked.test.seed)
    depths = [
        {"arm": key, "title": titles[key], "depths": [dict(one) for one in found]}
        for key, found in evidence.depths.items()
    ]
    rows = [
        *features_moved(ours),
        *depths_moved(ours.title, evidence.depths.get(ours.key, ())),
        *movement_and_gain(limits),
    ]
    return Answered(rows, {"depths": depths, **limits} if rows else None)


def features_moved(arm: ArmEvidence) -> list[Answer]:
    """Return how far an arm's pooled features moved; nothing where none were adapted."""
    moved = arm.movement
    if moved is None:
        return []
    p = moved["p"]
    seeds = {"n": moved["n"], "seeds": 1}
    mmd2 = {
        "name": f"features of {arm.title}: MMD²",
        "value": moved["mmd2"],
        "low": moved["low"],
        "high": moved["high"],
        "p_moved": p,
        **seeds,
        "estimator": f"{MMD_BY}; sign-flip p = {number(p)}",
        "text": number(moved["mmd2"]) + ("" if p < _SIGNIFICANT else " (not significant)"),
    }
    drift = moved["drift"]
    cosine = {
        "name": f"features of {arm.title}: cosine drift",
        **drift,
        "text": number(drift["value"]),
    }
    cka = {
        "name": f"features of {arm.title}: CKA",
        "value": moved["cka"],
        **seeds,
        "estimator": "linear CKA, unbiased",
        "no_interval": "a ratio of U-statistics; MMD² beside it has one",
        "text": f"{number(moved['cka'])} (1 is the same geometry)",
    }
    return [mmd2, cka, cosine]


def depths_moved(title: str, depths: Sequence[Mapping[str, Any]]) -> list[Answer]:
    """Return up to which depth nothing moved and where it moved most, in features and weights."""
    if not depths:
        return []
    still = 0
    while still < len(depths) and depths[still]["mmd2"] == 0.0:
        still += 1
    most = max(depths, key=lambda one: one["mmd2"])
    weights = [one for one in depths if one["weights"] is not None]
    base = {"n": depths[0]["n"], "seeds": 1}
    first = f"nothing up to {depths[still - 1]['name']}; " if still else ""
    text = f"{first}most at {most['name']}, MMD² {number(most['mmd2'])}"
    found: list[Answer] = [
        {
            "name": f"depths of {title}",
            "value": most["depth"],
            **base,
            "no_interval": "the largest of the depths; the picture has that of each",
            "estimator": f"{MMD_BY.partition(';')[0]} of pooled hidden states, at {len(depths)} "
            "depths",
            "text": text if most["mmd2"] > 0 else "nothing moved at any depth",
        }
    ]
    if weights:
        heaviest = max(weights, key=lambda one: one["weights"])
        found.append(
            {
                "name": f"weights of {title}",
                "value": heaviest["weights"],
                "depth": heaviest["depth"],
                "n": len(weights),
                "n_is": "depths",
                "seeds": 1,
                "estimator": "‖w − w₀‖ / ‖w₀‖ between two depths",
                "no_interval": "it is counted, not estimated",
                "text": f"at most {number(heaviest['weights'])} of their norm, below "
                f"{heaviest['name']}"
                if heaviest["weights"] > 0
                else "none of the backbone's own changed",
            }
        )
    return found


def movement_and_gain(limits: Mapping[str, Any]) -> list[Answer]:
    """Return whether what moved less gained more, or converged sooner."""
    named = {
        "gain": "movement against gain over the control",
        "speed": "movement against the share of steps to convergence",
    }
    found = []
    for key, name in named.items():
        one = limits[key]
        if not one["n"]:
            continue
        found.append(
            {
                "name": name,
                "value": (one.get("spearman") or {}).get("value"),
                "n": one["n"],
                "n_is": "cells",
                "seeds": 1,
                "verdict": one["verdict"],
                "no_interval": "the text tells it, where there is one",
                "estimator": f"{_CORRELATED_BY}; cells of one study share its data and are not "
                "independent",
                "text": one["text"],
            }
        )
    return found
