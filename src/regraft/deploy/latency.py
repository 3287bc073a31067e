"""How long the winner's graft takes for one item, measured where a target asks for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch

from regraft.deploy.predictor import GraftPredictor
from regraft.evidence.criterion import LATENCY, criterion_of
from regraft.evidence.words import number
from regraft.measure.medians import median_interval
from regraft.search.account import LATENCY_DECISION
from regraft.search.grafting import winner_graft

if TYPE_CHECKING:
    from regraft.backbones.backbone import Backbone
    from regraft.search.account import Account
    from regraft.tasks.items import Items

WARM_UP, CALLS, LEAST_CALLS, SECONDS = 5, 51, 15, 20.0


def decide_latency(account: Account, backbone: Backbone) -> None:
    """Measure the latency if the target bounds it, and write it down: a resumed study keeps it."""
    if all(one.quantity.measure != LATENCY for one in criterion_of(account.task)):
        return

    def measured() -> dict[str, Any]:
        run = account.winner.repetitions[0].run
        device = str(account.ledger.runs.get(run).configuration["device"])
        graft = winner_graft(
            account.ledger,
            account.winner,
            backbone,
            account.task,
            temperature=account.temperature,
            metrics={},
            card="",
        )
        times = call_times(GraftPredictor(graft, backbone, device=device), account.final.items)
        found = median_interval(times)
        threads = torch.get_num_threads()
        where = f"{len(times)} single items on {device}, {threads} thread{'s' * (threads != 1)}"
        text = f"{number(found.value)} ms [{number(found.low)}, {number(found.high)}]"
        interval = found.to_json() | {"estimator": f"{found.estimator}, of {where}"}
        return {"interval": interval, "reason": f"an item takes {text}: median of {where}"}

    account.ledger.decisions.decide(account.study, LATENCY_DECISION, measured)


def call_times(predictor: GraftPredictor, items: Items) -> list[float]:
    """Return the milliseconds of calls for one item each, in turn, after some that do not count.

    A call is what a user makes: reading the item, preprocessing it, prediction.

    Args:
        predictor: The graft on its backbone.
        items: At least one. Fewer calls are made where they take long, 15 at least.
    """
    singles = [items.subset([row]) for row in range(min(len(items), CALLS))]
    for call in range(WARM_UP):
        predictor.predict_proba(singles[call % len(singles)])
    times: list[float] = []
    while len(times) < CALLS and (len(times) < LEAST_CALLS or sum(times) < 1000 * SECONDS):
        one = singles[len(times) % len(singles)]
        start = time.perf_counter()
        predictor.predict_proba(one)
        times.append(1000 * (time.perf_counter() - start))
    return times
