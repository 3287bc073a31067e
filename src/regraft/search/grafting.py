"""The winner's graft: written, then proved in a fresh process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regraft.engine.run import predictor_kind
from regraft.ledger.grafts import Graft

if TYPE_CHECKING:
    from collections.abc import Mapping

    from regraft.backbones.backbone import Backbone
    from regraft.ledger.ledger import Ledger
    from regraft.search.outcomes import ArmOutcome
    from regraft.tasks.task import Task


def winner_graft(  # what a graft holds comes from six places
    ledger: Ledger,
    outcome: ArmOutcome,
    backbone: Backbone,
    task: Task,
    *,
    temperature: float,
    metrics: Mapping[str, Any],
    card: str,
) -> Graft:
    """Return the graft of an arm's first repetition."""
    result = ledger.runs.result(outcome.repetitions[0].run)
    if result is None:
        raise AssertionError("the winner has a result")
    return Graft(
        backbone=backbone.reference,
        backbone_digest=backbone.digest,
        kind=task.kind,
        classes=task.classes,
        preprocess=backbone.preprocess.spec,
        protocol=outcome.protocol,
        state=result.load_state(),
        metrics=dict(metrics),
        temperature=temperature,
        card=card,
    )


def describe(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a reader wants to know of a resolved protocol."""
    predictor = predictor_kind(dict(protocol))
    if predictor is not None:
        return {k: v for k, v in predictor.items() if k != "kind"}
    train = protocol["train"]
    settings: dict[str, Any] = {
        "learning_rate": protocol["rate"]["peak"],
        "schedule": protocol["rate"]["kind"],
        "epochs": protocol["fit"]["epochs"],
        "batch_size": protocol["fit"]["batch_size"],
        "from_depth": train["from_depth"],
        "head_start": protocol["head"]["start"],
    }
    if protocol["data"]["augment"]["kind"] != "none":
        settings["augment"] = protocol["data"]["augment"]["kind"]
        settings["views"] = protocol["data"].get("views") or "afresh each epoch"
    for module in protocol["modules"]:
        settings[module["kind"]] = {k: v for k, v in module.items() if k != "kind"}
    return settings
