"""The verdict: which protocol, and whether to fine-tune or transfer at all. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from regraft.evidence.gates import Gate, dropped_arms
from regraft.evidence.words import number, seconds_text, signed
from regraft.measure.comparison import (
    RESAMPLES,
    Comparison,
    comparison_of,
    comparison_warning,
    detectable_difference,
    holm,
)
from regraft.measure.metrics import METRICS
from regraft.measure.resampling import mean_score, resampled_scores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

Kind = Literal["recommend", "do_not_fine_tune", "do_not_transfer"]

WITHOUT_TRANSFER = "control_without_transfer"
WITHOUT_FINE_TUNING = "control_without_fine_tuning"
CANDIDATE = "candidate"

_SAME_COST_SHARE = 0.25
_SAME_COST_SECONDS = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class ArmResult:
    """What the verdict looks at of an arm.

    Attributes:
        protocol: Its key; title: its name for people.
        role: Control without transfer, control without fine-tuning, or candidate.
        probabilities: On the items, shape (seeds, n, C).
        cost_seconds: The recorded estimate of one run, the shared feature pass included.
    """

    protocol: str
    title: str
    role: str
    probabilities: np.ndarray[Any, Any]
    cost_seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided on the validation items.

    Attributes:
        kind: Recommend a way of fine-tuning, do not fine-tune, or do not transfer.
        winner: Key of the arm to use; leader: of the one with the best value.
        tied: Arms that cannot be told apart from the leader, the leader left out.
        comparisons: Winner against every other arm, Holm-corrected; positive means the winner is
            better.
        reasons: Why, in sentences.
        gates: What became of the optional ingredients.
    """

    kind: Kind
    winner: str
    leader: str
    tied: tuple[str, ...]
    comparisons: Mapping[str, Comparison]
    reasons: tuple[str, ...]
    gates: tuple[Gate, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what the ledger keeps of it."""
        named = {"kind": self.kind, "winner": self.winner, "tied": list(self.tied)}
        return {**named, "reason": "; ".join(self.reasons)}


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What the sealed part says: confirmed, not confirmed, or undecided (None)."""

    confirmed: bool | None
    comparisons: Mapping[str, Comparison]
    reason: str


def decide_verdict(
    arms: Sequence[ArmResult],
    labels: np.ndarray[Any, Any],
    *,
    metric: str,
    costs: np.ndarray[Any, Any] | None,
    seed: int,
    gates: Sequence[Gate] = (),
) -> Verdict:
    """Decide between arms on the same items.

    The leader has the best value; arms that are not significantly worse (paired bootstrap, Holm)
    tie with it. Where a control without transfer leads, or ties with no transfer protocol above it,
    the verdict is not to transfer; where a control without fine-tuning leads or ties, not to
    fine-tune; else the cheapest of the tied candidates is recommended. Costs within 25 % or 5 s
    count as equal; then the lower log loss decides. An arm with an ingredient that did not pass its
    gate neither leads nor ties nor wins: its off-switch, an arm like others, stands in its place.

    Args:
        arms: All arms that have a result.
        labels: Shape (n,).
        metric: A metric's name.
        costs: Cost matrix (C, C), or None.
        seed: Of the resampling.
        gates: What became of the optional ingredients on these items.
    """
    standing = [arm for arm in arms if arm.protocol not in dropped_arms(gates)]
    sign = METRICS[metric].sign
    values = {
        arm.protocol: sign * mean_score(metric, arm.probabilities, labels, costs=costs)
        for arm in standing
    }
    by_key = {arm.protocol: arm for arm in standing}
    leader = min(standing, key=lambda arm: (-values[arm.protocol], *_simplest(arm)))
    against_leader = _compare_all(leader, standing, labels, metric, costs, seed)
    tied = [by_key[key] for key, one in against_leader.items() if not one.is_better]
    contenders = [leader, *tied]
    kind: Kind
    if leader.role == WITHOUT_TRANSFER:
        kind, eligible = "do_not_transfer", [a for a in contenders if a.role == WITHOUT_TRANSFER]
    elif any(arm.role == WITHOUT_FINE_TUNING for arm in contenders):
        kind = "do_not_fine_tune"
        eligible = [a for a in contenders if a.role == WITHOUT_FINE_TUNING]
    else:
        kind, eligible = "recommend", [a for a in contenders if a.role == CANDIDATE]
    winner = _cheapest(eligible, labels)
    comparisons = _compare_all(winner, arms, labels, metric, costs, seed)
    return Verdict(
        kind=kind,
        winner=winner.protocol,
        leader=leader.protocol,
        tied=tuple(arm.protocol for arm in tied),
        comparisons=comparisons,
        reasons=(
            *_reasons(winner, leader, tied, comparisons, metric),
            *_doubts(kind, winner, arms, comparisons),
            *_of_gates(gates, [arm.protocol for arm in arms]),
        ),
        gates=tuple(gates),
    )


def confirm(
    verdict: Verdict,
    arms: Sequence[ArmResult],
    labels: np.ndarray[Any, Any],
    *,
    metric: str,
    costs: np.ndarray[Any, Any] | None,
    seed: int,
) -> Confirmation:
    """Hold the verdict against the sealed part; it can confirm it or not, and chooses nothing.

    Not confirmed: an arm that the verdict sets aside is significantly better than the winner (any
    control for ``recommend``; any arm for the other two), or, for ``recommend``, the control that
    was best on validation is ahead of the winner.
    Confirmed: the winner is significantly better than every control without transfer (and, for
    ``recommend``, than every control without fine-tuning); for ``do_not_transfer``, that no
    transfer protocol is better. Else undecided.
    """
    winner = next(arm for arm in arms if arm.protocol == verdict.winner)
    comparisons = _compare_all(winner, arms, labels, metric, costs, seed)
    roles = {arm.protocol: arm.role for arm in arms}
    titles = {arm.protocol: arm.title for arm in arms}
    controls = {WITHOUT_TRANSFER, WITHOUT_FINE_TUNING}
    against = controls if verdict.kind == "recommend" else {*controls, CANDIDATE}
    worse = [k for k, one in comparisons.items() if one.is_worse and roles[k] in against]
    if worse:
        return Confirmation(
            False,
            comparisons,
            f"on the sealed part {titles[worse[0]]} is significantly better",
        )
    best = _best_control(verdict, [key for key, role in roles.items() if role in controls])
    if verdict.kind == "recommend" and best is not None and comparisons[best].difference < 0:
        return Confirmation(False, comparisons, f"on the sealed part {titles[best]} is ahead")
    beaten = {WITHOUT_TRANSFER, WITHOUT_FINE_TUNING} if verdict.kind == "recommend" else set()
    beaten |= {WITHOUT_TRANSFER} if verdict.kind == "do_not_fine_tune" else set()
    unsure = [k for k, one in comparisons.items() if roles[k] in beaten and not one.is_better]
    if unsure:
        return Confirmation(
            None,
            comparisons,
            f"on the sealed part {titles[unsure[0]]} cannot be told apart from the winner",
        )
    return Confirmation(True, comparisons, "the sealed part agrees")


def sentence(record: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Return the verdict in one sentence.

    Args:
        record: The record, its ``verdict`` without the sentence.
        row: The winner's row in ``arms``.
    """
    study, verdict = record["study"], record["verdict"]
    metric = study["metric"]
    scored = (row["test"] or row["validation"])[metric]
    quality = (
        f"{METRICS[metric].title} {number(scored['value'])} "
        f"[{number(scored['low'])}, {number(scored['high'])}]"
    )
    lead = {
        "recommend": f"{row['title']} on {_short(study['backbone'])}",
        "do_not_fine_tune": f"Do not fine-tune: {row['title']} on {_short(study['backbone'])}",
        "do_not_transfer": f"Do not transfer: {row['title']}",
    }[verdict["kind"]]
    parts = [f"{lead}: {quality}"]
    gain = _gain(record, row)
    if gain:
        parts.append(gain)
    parts.append(seconds_text(row["seconds"]))
    text = ", ".join(parts) + _dearer(record, row)
    endings = {
        True: "",
        False: " NOT CONFIRMED on the sealed test part.",
        None: " The sealed test part leaves it undecided.",
    }
    return text + "." + endings[verdict["confirmed"]]


def _compare_all(
    first: ArmResult,
    arms: Sequence[ArmResult],
    labels: np.ndarray[Any, Any],
    metric: str,
    costs: np.ndarray[Any, Any] | None,
    seed: int,
) -> dict[str, Comparison]:
    """Compare one arm with every other on the same resamples, Holm-corrected."""
    others = [arm for arm in arms if arm is not first]
    every = [first, *others]
    draws = resampled_scores(
        metric,
        [arm.probabilities for arm in every],
        labels,
        costs=costs,
        resamples=RESAMPLES,
        seed=seed,
    )
    values = [mean_score(metric, arm.probabilities, labels, costs=costs) for arm in every]
    found = [
        comparison_of(
            metric,
            (values[0], values[i]),
            (draws[0], draws[i]),
            n=len(labels),
            warning=comparison_warning(
                metric, first.probabilities, every[i].probabilities, labels, costs=costs
            ),
        )
        for i in range(1, len(every))
    ]
    adjusted = holm([one.p for one in found])
    return {
        arm.protocol: replace(one, p_adjusted=p)
        for arm, one, p in zip(others, found, adjusted, strict=True)
    }


def _cheapest(arms: Sequence[ArmResult], labels: np.ndarray[Any, Any]) -> ArmResult:
    """Return the cheapest arm; among costs that count as equal, the one with the lowest log loss.

    The metric has called them tied; log loss is proper and less coarse on few items.
    """
    least = min(arm.cost_seconds for arm in arms)
    limit = max(least * (1 + _SAME_COST_SHARE), least + _SAME_COST_SECONDS)
    cheap = [arm for arm in arms if arm.cost_seconds <= limit]

    def loss(arm: ArmResult) -> float:
        return mean_score("log_loss", arm.probabilities, labels)

    return min(cheap, key=lambda arm: (loss(arm), arm.cost_seconds, arm.protocol))


def _best_control(verdict: Verdict, controls: Sequence[str]) -> str | None:
    """Return the control that came nearest to the winner on validation."""
    known = [key for key in controls if key in verdict.comparisons]
    return min(known, key=lambda key: verdict.comparisons[key].difference, default=None)


def _simplest(arm: ArmResult) -> tuple[bool, float, str]:
    """Return the order among exactly equal values: no transfer first, then the cheapest."""
    return arm.role != WITHOUT_TRANSFER, arm.cost_seconds, arm.protocol


def _reasons(
    winner: ArmResult,
    leader: ArmResult,
    tied: Sequence[ArmResult],
    comparisons: Mapping[str, Comparison],
    metric: str,
) -> tuple[str, ...]:
    found = []
    n = winner.probabilities.shape[1]
    if winner is not leader:
        one = comparisons[leader.protocol]
        found.append(
            f"{leader.title} has the best {METRICS[metric].title} on {n} validation items, but "
            f"{winner.title} cannot be told apart from it ({signed(one.difference)}, p = "
            f"{one.decisive_p:.2g}) and is cheaper or needs no fine-tuning"
        )
    else:
        found.append(f"{winner.title} has the best {METRICS[metric].title} on {n} validation items")
    names = [arm.title for arm in tied if arm is not winner and arm is not leader]
    if names:
        found.append(f"ties: {'; '.join(names)}")
    return tuple(found)


def _doubts(
    kind: Kind,
    winner: ArmResult,
    arms: Sequence[ArmResult],
    comparisons: Mapping[str, Comparison],
) -> tuple[str, ...]:
    """Say where the validation items are too few to tell the winner from no transfer at all."""
    if kind == "do_not_transfer":
        return ()
    rivals = [arm for arm in arms if arm.role == WITHOUT_TRANSFER]
    close = [arm for arm in rivals if not comparisons[arm.protocol].is_better]
    if not close:
        return ()
    nearest = min(close, key=lambda arm: comparisons[arm.protocol].difference)
    least = detectable_difference(comparisons[nearest.protocol])
    return (
        f"{nearest.title}, which transfers nothing, cannot be told apart from {winner.title} on "
        f"{winner.probabilities.shape[1]} validation items: a difference below {number(least)} "
        "would not show. Label more",
    )


def _of_gates(gates: Sequence[Gate], keys: Sequence[str]) -> tuple[str, ...]:
    """Say what was dropped, of arms that have a result."""
    return tuple(g.text for g in gates if not g.passed and g.switch.protocol in keys)


def _gain(record: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Return the gain over the best control on the same items."""
    metric = record["study"]["metric"]
    sign = METRICS[metric].sign
    part = "test" if row["test"] else "validation"
    roles = {WITHOUT_TRANSFER}
    what = "the best control without transfer"
    if record["verdict"]["kind"] == "recommend":
        roles, what = {WITHOUT_TRANSFER, WITHOUT_FINE_TUNING}, "the best control"
    if record["verdict"]["kind"] == "do_not_transfer":
        return ""
    others = [
        sign * arm[part][metric]["value"]
        for arm in record["arms"]
        if arm[part] and arm["role"] in roles and not arm["winner"]
    ]
    if not others:
        return ""
    gain = sign * row[part][metric]["value"] - max(others)
    return f"{signed(gain)} over {what}" if gain >= 0 else f"{number(-gain)} behind {what}"


def _dearer(record: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Say of the dearest arm that ties how many times the cost it ties at."""
    ties = [
        arm
        for arm in record["arms"]
        if arm["versus_best"] and arm["versus_best"]["tie"] and arm["role"] == CANDIDATE
        and arm["seconds"]
    ]  # fmt: skip
    own = max(float(row["seconds"] or 0.0), 1e-3)
    dear = max(ties, key=lambda arm: arm["seconds"], default=None)
    if dear is None:
        return ""
    times = dear["seconds"] / own
    if times < 1.5:
        return f"; {dear['title']} ties"
    return f"; {dear['title']} ties at {times:,.0f}× the cost"


def _short(backbone: str) -> str:
    """Return the last part of a reference: the model's own name."""
    if backbone.startswith("python:"):
        return backbone.partition("@")[0].rpartition(":")[2]
    return backbone.rstrip("/").rpartition("/")[2].removeprefix("zoo:")
