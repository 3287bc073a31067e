"""The report: one self-contained HTML file, or the same as Markdown or JSON."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from regraft.errors import ConfigError
from regraft.evidence.words import number
from regraft.report import words
from regraft.report.card import card_markdown
from regraft.report.costs import cost_sentence, cost_table
from regraft.report.facts import (
    badges,
    class_table,
    key_facts,
    question_tables,
    suspect_labels,
    task_facts,
    warnings,
    winner_scores,
)
from regraft.report.failures import failing_slices, sealed_suspects, shown_image
from regraft.report.figures import (
    confusion,
    corruptions,
    cost_quality,
    curves,
    depths,
    groups,
    label_efficiency,
    movement,
    movement_gain,
    reliability,
    risk_coverage,
    slices,
)
from regraft.report.ladder import all_scores, ingredients, ladder_of
from regraft.report.palette import css_variables, variable_of
from regraft.report.target import target_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from regraft.report.figures.frame import Picture

_PICTURES = (
    cost_quality.picture,
    curves.metric_picture,
    curves.loss_picture,
    reliability.picture,
    confusion.picture,
    movement.picture,
    depths.picture,
    movement_gain.picture,
    label_efficiency.picture,
    corruptions.picture,
    risk_coverage.picture,
    slices.picture,
    groups.picture,
)


def write_report(record: Mapping[str, Any], path: Path) -> Path:
    """Write the report as one HTML file that needs no network.

    Args:
        record: The study's record.
        path: The file; an existing one is replaced, once the new one is complete.

    Returns:
        The path.

    Raises:
        ConfigError: The file cannot be written.
    """
    return written(path, page_html(record))


def write_any(record: Mapping[str, Any], path: Path) -> Path:
    """Write the report in the form that the file's ending names: .html, .md or .json.

    Raises:
        ConfigError: The ending is none of these, or the file cannot be written.
    """
    return written(path, writer_for(path)(record))


def writer_for(path: Path) -> Callable[[Mapping[str, Any]], str]:
    """Return what turns a record into the text of such a file, by its ending.

    Raises:
        ConfigError: The ending is none of .html, .md and .json.
    """
    writers: dict[str, Callable[[Mapping[str, Any]], str]] = {
        ".html": page_html,
        ".htm": page_html,
        ".md": card_markdown,
        ".json": record_json,
    }
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise ConfigError(
            f"a report cannot be written as {path.suffix or 'a file without ending'!r}. "
            "Name a file that ends in .html, .md or .json.",
            where=str(path),
        )
    return writer


def record_json(record: Mapping[str, Any]) -> str:
    """Return the record as JSON text."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def page_html(record: Mapping[str, Any]) -> str:
    """Return the report as HTML text."""
    pictures = {one.key: one for make in _PICTURES if (one := make(record)) is not None}
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            record=record,
            study=record["study"],
            badges=badges(record),
            facts=key_facts(record),
            warnings=warnings(record),
            target=target_table(record),
            ladder=ladder_of(record),
            all_scores=all_scores(record),
            ingredients=ingredients(record),
            costs=cost_table(record),
            cost_sentence=cost_sentence(record),
            winner_scores=winner_scores(record),
            questions=question_tables(record),
            failing=failing_slices(record),
            sealed_suspects=sealed_suspects(record),
            class_table=class_table(record),
            task_facts=task_facts(record),
            suspects=suspect_labels(record),
            mistakes=_mistakes(record),
            **shell(pictures),
        )
    )


def render(template: str, pictures: Mapping[str, Picture], facts: Mapping[str, Any]) -> str:
    """Return another page of the same make: a template with its pictures and what it tells."""
    return _environment().get_template(template).render(**facts, **shell(pictures))


def shell(pictures: Mapping[str, Picture]) -> dict[str, Any]:
    """Return what every page is given: pictures, figures, scripts, style, colours and policy."""
    scripts = [get_plotlyjs(), _text("report.js")]
    return {
        "pictures": pictures,
        "figures": _embedded(pictures),
        "scripts": scripts,
        "style": _text("report.css"),
        "light": css_variables(dark=False),
        "dark": css_variables(dark=True),
        "policy": _policy(scripts),
    }


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("regraft.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "count": words.count,
        "percent": words.percent,
        "seconds": words.seconds_text,
        "interval": words.interval_text,
        "metric": words.metric_title,
    }
    return environment


def _text(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


def _embedded(pictures: Mapping[str, Picture]) -> str:
    """Return the figures as JSON that no name from data can end or leave."""
    plain = {
        "figures": {key: one.to_json() for key, one in pictures.items()},
        "variables": variable_of(),
    }
    text = json.dumps(plain, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _policy(scripts: list[str]) -> str:
    """Return a content security policy under which only the page's own scripts run."""
    digests = (hashlib.sha256(one.encode("utf-8")).digest() for one in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(one).decode()}'" for one in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _mistakes(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the mistakes to show; an image that is no embedded JPEG or PNG is left out."""
    found = (record.get("best") or {}).get("mistakes") or []
    return [{**one, "image": shown_image(one.get("image"))} for one in found]


def written(path: Path, text: str) -> Path:
    """Write a whole file or none: beside it under another name, then renamed.

    Raises:
        ConfigError: The file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        reason = error.strerror or type(error).__name__
        raise ConfigError(
            f"the report cannot be written ({reason}). Name another file.", where=str(path)
        ) from error
    return path
