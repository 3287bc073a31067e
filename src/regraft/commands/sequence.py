"""The command that asks what learning one task after another gave and took: sequence."""

from __future__ import annotations

from typing import Annotated

import typer

from regraft.commands.options import AllowBad, Json, OneBackbone, Seed, Trust
from regraft.commands.showing import out, print_json, say
from regraft.errors import ConfigError


def sequence(
    what: Annotated[
        list[str],
        typer.Argument(
            help="GRAFT DATA GRAFT DATA …: what was kept after each task, its test items."
        ),
    ],
    backbone: OneBackbone = None,
    seed: Seed = None,
    allow_bad: AllowBad = False,
    trust_remote_code: Trust = False,
    as_json: Json = False,
) -> None:
    """Ask what tasks learnt one after another gave to later ones and took from earlier ones.

    Every graft predicts the labelled items of every task. Prints accuracy by graft and task, and
    mean accuracy, backward and forward transfer and forgetting with intervals. Of data with a test
    part that part is taken; of other data all, so give items that trained no graft. Labels of test
    parts are read here and not counted as openings: choose nothing by what it says.

    Example: regraft sequence grafts/first first-test/ grafts/second second-test/
    """
    from regraft.deploy.sequence import learnt_in_sequence
    from regraft.evidence.words import number
    from regraft.terminal import table

    if len(what) < 4 or len(what) % 2:
        raise ConfigError(
            f"{len(what)} given. Name two tasks or more, each by its graft and its data.",
            where="sequence",
        )
    found = learnt_in_sequence(
        list(zip(what[::2], what[1::2], strict=True)),
        backbone=backbone,
        seed=seed or 0,
        allow_bad=allow_bad,
        trust_remote_code=trust_remote_code,
    )
    if as_json:
        print_json(found.to_json())
        return
    columns = ("kept after", *found.names)
    cells = [
        (name, *(f"{number(one.value)} [{number(one.low)}, {number(one.high)}]" for one in row))
        for name, row in zip(found.names, found.scores, strict=True)
    ]
    chance = ("most frequent class", *map(number, found.chance))
    out.print(table("Accuracy by task", columns, [*cells, chance]))
    for sentence in found.sentences():
        say(sentence)
