"""Evidence of systems with chosen predictions on items of known groups."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.evidence.arm import ArmEvidence, Part
from regraft.evidence.gathered import Evidence
from regraft.evidence.verdict import Verdict
from regraft.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def logits_of(said: np.ndarray[Any, Any], n_classes: int = 2) -> np.ndarray[Any, Any]:
    """Return logits (1, n, C) of one repetition that is sure of what it says."""
    return 4.0 * np.eye(n_classes)[said][None] - 2.0


def made_arm(key: str, role: str, logits: np.ndarray[Any, Any]) -> ArmEvidence:
    return ArmEvidence(
        key=key,
        protocol=key,
        title=key.title(),
        role=role,
        status="done",
        reason="",
        settings={},
        estimated_seconds=1.0,
        runs=(f"run-{key}",),
        logits=logits,
        test_logits=logits,
    )


def made_evidence(
    arms: Sequence[ArmEvidence],
    labels: np.ndarray[Any, Any],
    groups: Mapping[str, Sequence[str]],
    *,
    target: str | None = None,
    latency: Mapping[str, Any] | None = None,
) -> Evidence:
    """Return the evidence of a task whose sealed part has these labels and groups."""
    names = [f"class {i}" for i in range(int(labels.max()) + 1)]
    train = [f"words {i} of {names[i % len(names)]}" for i in range(40)]
    inputs = [f"item number {i}" for i in range(len(labels))]
    columns = {c: [sorted(set(v))[i % len(set(v))] for i in range(40)] for c, v in groups.items()}
    task = Task.read(
        {
            "train": (train, [names[i % len(names)] for i in range(40)], columns),
            "test": (inputs, [names[label] for label in labels], groups),
        },
        metric="accuracy",
        target=target,
    )
    # The sealed part is sorted by digest; here the items stay in the order of the labels.
    order = np.argsort([int(one.rsplit(" ", 1)[1]) for one in task.sealed.inputs.inputs])
    items = replace(task.sealed.open().subset(order), labels=labels)
    part = Part(labels, None, 0)
    return Evidence(
        study={"id": "made"},
        task=task,
        task_card={},
        arms=arms,
        validation=part,
        verdict=Verdict("recommend", arms[0].key, arms[0].key, (), {}, ()),
        confirmation=None,
        test=part,
        test_items=items,
        temperature=1.0,
        budget_points=[],
        histories={},
        decisions=[],
        configuration={},
        reproduce=[],
        openings=1,
        parameters_total={},
        latency=latency,
    )
