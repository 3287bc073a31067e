"""Gates: an optional ingredient must beat its own off-switch on validation, or it is dropped."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from regraft.evidence.arm import comparison_json
from regraft.evidence.words import signed
from regraft.measure.comparison import Comparison, holm, paired_bootstrap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

_FIGURES = (
    "difference",
    "low",
    "high",
    "p",
    "p_adjusted",
    "n",
    "estimator",
    "seeds",
    "tie",
    "warning",
    "no_interval",
)


@dataclass(frozen=True, slots=True)
class Switch:
    """An optional ingredient of an arm.

    Attributes:
        protocol: Key of the arm that has it.
        ingredient: Its name for people.
        off: Key of the arm that is the same without it.
    """

    protocol: str
    ingredient: str
    off: str


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether an ingredient may stay in its arm.

    Attributes:
        switch: The arm, the ingredient and its off-switch.
        comparison: The arm against its off-switch, corrected for all gates of the study; None where
            one of them has no result.
        text: The outcome in a sentence.
        seeds: Repetitions of each of the two that were compared.
    """

    switch: Switch
    comparison: Comparison | None
    text: str
    seeds: int = 0

    @property
    def passed(self) -> bool:
        """Whether the arm is significantly better than its off-switch."""
        return self.comparison is not None and self.comparison.is_better

    def to_json(self) -> dict[str, Any]:
        """Return the plain form; figures that do not exist are null."""
        figures: dict[str, Any] = dict.fromkeys(_FIGURES)
        if (one := self.comparison) is not None:
            figures = comparison_json(one, tie=one.tie, seeds=(self.seeds, self.seeds))
        return {**asdict(self.switch), **figures, "passed": self.passed, "text": self.text}


def judge_gates(
    switches: Sequence[Switch],
    probabilities: Mapping[str, np.ndarray[Any, Any]],
    labels: np.ndarray[Any, Any],
    *,
    titles: Mapping[str, str],
    statuses: Mapping[str, str],
    metric: str,
    costs: np.ndarray[Any, Any] | None,
    seed: int,
) -> tuple[Gate, ...]:
    """Hold every ingredient against its off-switch on the same items, seed by seed alike.

    It passes where the arm that has it is significantly better: paired bootstrap, Holm-corrected
    over all gates. What cannot be compared does not pass.

    Args:
        switches: All ingredients of a study.
        probabilities: By arm, shape (seeds, n, C); without those that have no result. Of two arms
            the seeds that both have are compared.
        labels: Shape (n,).
        titles: Names for people, by arm.
        statuses: Of arms without a result: ``eliminated``, ``skipped`` or ``failed``.
        metric: A metric's name.
        costs: Cost matrix (C, C), or None.
        seed: Of the resampling.
    """
    found: dict[Switch, Comparison] = {}
    seeds: dict[Switch, int] = {}
    for switch in switches:
        if switch.protocol in probabilities and switch.off in probabilities:
            on, off = probabilities[switch.protocol], probabilities[switch.off]
            shared = seeds[switch] = min(len(on), len(off))
            found[switch] = paired_bootstrap(
                metric, on[:shared], off[:shared], labels, costs=costs, seed=seed
            )
    adjusted = dict(zip(found, holm([one.p for one in found.values()]), strict=True))
    return tuple(
        _gate(switch, replace(found[switch], p_adjusted=adjusted[switch]), titles, seeds[switch])
        if switch in found
        else _unjudged(switch, titles, statuses)
        for switch in switches
    )


def dropped_arms(gates: Sequence[Gate]) -> frozenset[str]:
    """Return the arms of which an ingredient did not pass."""
    return frozenset(one.switch.protocol for one in gates if not one.passed)


def _gate(switch: Switch, one: Comparison, titles: Mapping[str, str], seeds: int) -> Gate:
    did = "kept: {} beat" if one.is_better else "dropped: {} did not beat"
    text = (
        f"{did.format(switch.ingredient)} its off-switch, {titles[switch.off]}: "
        f"{signed(one.difference)} [{signed(one.low)}, {signed(one.high)}], "
        f"p = {one.decisive_p:.2g}"
    )
    return Gate(switch, one, text, seeds)


def _unjudged(switch: Switch, titles: Mapping[str, str], statuses: Mapping[str, str]) -> Gate:
    key, did = switch.protocol, "not judged"
    status = statuses.get(key)
    if status is None:
        key, did = switch.off, "dropped"
        status = statuses[key]
    elif status == "eliminated":
        did = "dropped"
    how = {"failed": "failed", "eliminated": "dropped out of the race"}.get(status, f"was {status}")
    return Gate(switch, None, f"{did}: {switch.ingredient}, as {titles[key]} {how}")
