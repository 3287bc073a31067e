"""Commands beside studies: predict, doctor, schema, pretrain."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from regraft.commands.options import AllowBad, Home, Json, OneBackbone, Trust
from regraft.commands.showing import out, print_json, say, write_whole
from regraft.errors import ConfigError


def predict(
    graft: Annotated[str, typer.Argument(help="Folder of a graft.")],
    data: Annotated[str, typer.Argument(help="Images, a folder of them, or a table of texts.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="CSV file.")] = None,
    column: Annotated[str | None, typer.Option(help="Column of the inputs.")] = None,
    backbone: OneBackbone = None,
    allow_bad: AllowBad = False,
    trust_remote_code: Trust = False,
    as_json: Json = False,
) -> None:
    """Predict with a graft: label, probabilities, confidence.

    Example: regraft predict grafts/bees new-photos/ -o predictions.csv
    """
    from regraft.verbs import predict_table

    found = predict_table(
        graft,
        data,
        column=column,
        backbone=backbone,
        allow_bad=allow_bad,
        trust_remote_code=trust_remote_code,
    )
    if as_json:
        print_json({"predictions": found.to_dict(orient="records")})
    elif output is not None:
        say(f"wrote {write_whole(output, found.to_csv(index=False))}")
    else:
        sys.stdout.write(found.to_csv(index=False))


def doctor(home: Home = None, as_json: Json = False) -> None:
    """Look at the machine and the installation.

    Example: regraft doctor
    """
    from regraft.terminal import table
    from regraft.verbs import examine

    rows = examine(home)
    if as_json:
        print_json({what: finding for what, finding, _ in rows})
    else:
        cells = ((what, finding, "" if well else "look at this") for what, finding, well in rows)
        out.print(table("regraft doctor", ("what", "finding", ""), cells))


def schema(
    what: Annotated[str, typer.Argument(help="study or protocol")] = "study",
) -> None:
    """Print the JSON schema of a study or protocol file.

    Example: regraft schema protocol
    """
    from regraft.config.study import protocol_schema, study_schema

    makers = {"study": study_schema, "protocol": protocol_schema}
    if what not in makers:
        raise ConfigError(f"unknown schema {what!r}. Known: study, protocol.", where="schema")
    print_json(makers[what]())


def pretrain(
    what: Annotated[str, typer.Argument(help="glyphs")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Safetensors file.")] = Path(
        "glyphs.safetensors"
    ),
    steps: Annotated[int | None, typer.Option(help="Steps; the recipe's if not given.")] = None,
) -> None:
    """Make the embedded backbone anew by its committed recipe.

    Example: regraft pretrain glyphs -o glyphs.safetensors
    """
    from regraft.pretrain import pretrain_named

    info = pretrain_named(what, output, steps=steps)
    say(f"wrote {output}: {info}")
