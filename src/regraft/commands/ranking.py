"""The command that orders backbones before any training: rank."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regraft.commands.asking import task_of
from regraft.commands.options import (
    AllowBad,
    Data,
    Group,
    Home,
    Input,
    Json,
    Label,
    Seed,
    Time,
    Trust,
)
from regraft.commands.showing import out, print_json, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from regraft.evidence.past_orders import Past
    from regraft.evidence.ranking import Ranking
    from regraft.tasks.task import Task


def rank(
    data: Data,
    backbones: Annotated[
        str, typer.Option(help="Two or more, as `regraft run` takes them, with commas between.")
    ],
    items: Annotated[int, typer.Option(help="Most labelled items to look at.")] = 1000,
    halves: Annotated[int, typer.Option(help="Half-samples of them, for the spread.")] = 30,
    seed: Seed = None,
    label: Label = None,
    input_: Input = None,
    group: Group = None,
    time: Time = None,
    allow_bad: AllowBad = False,
    trust_remote_code: Trust = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Order backbones by how well they are likely to transfer; train nothing.

    Several estimators look at the frozen features of the labelled items, without those that
    `regraft run` seals by the same data and seed. Places and ranks come with their spread over
    half-samples of the items. What the ledger knows is told beside them: the static order of past
    studies, and the regret where this task was studied before.

    Example: regraft rank photos/ --backbones facebook/dinov2-small,microsoft/resnet-18
    """
    from regraft.search.ranking import rank_backbones

    task, asked = task_of(locals())
    ranking = rank_backbones(
        task,
        [one.strip() for one in backbones.split(",") if one.strip()],
        home=home,
        most_items=items,
        half_samples=halves,
        seed=asked.seed,
        trust_remote_code=trust_remote_code,
    )
    past = _past(ranking, task, home)
    if as_json:
        print_json({**ranking.to_json(), "past": past.to_json()})
    else:
        _show(ranking)
        say(past.sentence)


def _past(ranking: Ranking, task: Task, home: Path | None) -> Past:
    """Return what the ledger knows of these backbones: baselines, and regret."""
    from regraft.config.study import backbone_beside
    from regraft.evidence.past_orders import past_of
    from regraft.ledger.ledger import Ledger

    names = [place.name for place in ranking.places]
    references = {name: backbone_beside(Path.cwd(), name) for name in names}
    return past_of(Ledger.open(home), ranking, references, str(task.asked["data"]))


def _show(ranking: Ranking) -> None:
    """Print the order, what each estimator says of each backbone, and how far to trust it."""
    from regraft.terminal import table

    columns = ("backbone", "mean rank", "place, 95 %", "first in")
    cells = (
        (one.name, f"{one.mean_rank:.2f}", f"{one.low:g} – {one.high:g}", f"{one.first:.0%}")
        for one in ranking.places
    )
    out.print(table("Ranking", columns, cells))
    names = [f"{number}." for number, _ in enumerate(ranking.places, 1)]
    out.print(table("Score (rank)", ("estimator", *names, "stable"), _estimator_cells(ranking)))
    for view in ranking.estimators:
        if view.scores and view.note:
            say(f"{view.name}: {view.note}.")
    say(ranking.sentence)
    say(
        f"{ranking.n_items} items, {ranking.n_classes} classes, {ranking.half_samples} "
        "half-samples. Larger scores are better; each column is a backbone by its place above."
    )


def _estimator_cells(ranking: Ranking) -> Iterator[list[Any]]:
    for view in ranking.estimators:
        if view.stability is None:
            yield [view.name, *(view.note for _ in ranking.places), ""]
            continue
        scores = (
            f"{view.scores[p.name]:.4g} ({view.ranks[p.name]:g})" if p.name in view.scores else "–"
            for p in ranking.places
        )
        yield [view.name, *scores, f"{view.stability:.0%}"]
