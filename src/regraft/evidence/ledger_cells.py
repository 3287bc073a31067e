"""The transfer-limits analysis over the finished studies of a ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regraft.errors import ConfigError
from regraft.evidence.cells import Cell, limits_json
from regraft.evidence.questions.what_moved import KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.ledger.ledger import Ledger
    from regraft.ledger.studies import StudyRow


def limits_of_ledger(
    ledger: Ledger, references: Sequence[str] = (), *, seed: int = 0
) -> dict[str, Any]:
    """Return the cells of a ledger's studies, one for each backbone on each task.

    Of a study's arms on a backbone the one of the largest gain on validation is the cell; where the
    same backbone was studied twice on the same data by the same metric, the newest study counts.

    Args:
        ledger: Where they are recorded.
        references: Ids or names of studies; all finished ones if none is given.
        seed: Of bootstrap and random orders.

    Returns:
        As `limits_json`, and ``left_out``: {study, reason} of each study without a cell.

    Raises:
        ConfigError: A study is unknown, or has not finished.
    """
    studies = [ledger.studies.find(one) for one in references] or ledger.studies.all()
    chosen: dict[tuple[str, str, str], Cell] = {}
    left_out = []
    for study in sorted(studies, key=lambda one: one.created):
        cells, reason = _cells(ledger, study, is_named=bool(references))
        if reason:
            left_out.append({"study": study.id, "reason": reason})
        metric = str(study.configuration["task"]["metric"])
        for backbone, cell in _best_by_backbone(cells).items():
            chosen[cell.data, metric, backbone] = cell
    used = {one.study for one in chosen.values()}
    left_out += [
        {"study": one.id, "reason": "a newer study of the same data and backbones counts"}
        for one in studies
        if one.id not in used and one.id not in {it["study"] for it in left_out}
    ]
    return {**limits_json(list(chosen.values()), seed=seed), "left_out": left_out}


def _cells(ledger: Ledger, study: StudyRow, *, is_named: bool) -> tuple[list[Cell], str]:
    """Return the cells of a study's record, or why it has none."""
    record = ledger.studies.record(study.id)
    if record is None:
        if is_named:
            raise ConfigError(
                "it has not finished. Run it again to go on, or leave it out.",
                where=f"study {study.id}",
            )
        return [], "it has not finished"
    questions = record.get("questions") or ()
    figure = next((one.get("figure") for one in questions if one["key"] == KEY), None)
    found = [Cell(**one) for one in (figure or {}).get("cells", ())]
    if found:
        return found, ""
    return [], "it has no adapted arm beside a control, or was recorded before cells were kept"


def _best_by_backbone(cells: Sequence[Cell]) -> dict[str, Cell]:
    found: dict[str, Cell] = {}
    for one in cells:
        if one.backbone not in found or one.gain > found[one.backbone].gain:
            found[one.backbone] = one
    return found
