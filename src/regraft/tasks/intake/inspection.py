"""One look at every item: can it be read, how large is it, what had to be converted."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regraft.errors import DataError
from regraft.hashing import digest_bytes
from regraft.tasks.duplicates import normalised_text
from regraft.tasks.images import REDUCED, decode, quiet_pillow, size_of
from regraft.tasks.items import digest_input
from regraft.tasks.looks import Look, look_at

if TYPE_CHECKING:
    from regraft.tasks.intake.rows import Rows

_THREADS = 2
_TOLERATED = 0.01
_LISTED = 20


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What the look at one item found; `problem` is empty where it can be used."""

    digest: str
    key: str
    look: Look | None = None
    size: tuple[int, int] | None = None
    words: int | None = None
    notes: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """What the look at all items found; only usable items remain in the rows.

    Attributes:
        seen: One per remaining item.
        skipped: Why items were left out, up to 20 of them; `n_skipped` is their number.
        converted: How often each conversion was needed.
    """

    seen: list[Seen]
    skipped: tuple[str, ...]
    n_skipped: int
    converted: dict[str, int]


def inspect_rows(rows: Rows, *, allow_bad: bool, where: str) -> Inspection:
    """Look at every item; drop from `rows` what cannot be used.

    Raises:
        DataError: No item can be used, or more than 1 % cannot and `allow_bad` is off.
    """
    looks = {"image": _look_at_image, "text": _look_at_text, "array": _look_at_array}
    with quiet_pillow(), ThreadPoolExecutor(_THREADS) as pool:
        seen = list(pool.map(looks[rows.kind], rows.inputs))
    bad = [i for i, one in enumerate(seen) if one.problem]
    reasons = tuple(f"{rows.ids[i]}: {seen[i].problem}" for i in bad[:_LISTED])
    n = len(seen)
    if bad and len(bad) == n:
        raise DataError(
            f"none of its {n} items can be used; the first is {reasons[0]} Mend or replace them.",
            where=where,
        )
    if len(bad) > _TOLERATED * n and not allow_bad:
        raise DataError(
            f"{len(bad)} of {n} items cannot be used (more than 1 %); the first is {reasons[0]} "
            "Mend or remove them, or go on without them with --allow-bad.",
            where=where,
        )
    if bad:
        rows.keep([i for i, one in enumerate(seen) if not one.problem])
    kept = [one for one in seen if not one.problem]
    converted = Counter(note for one in kept for note in one.notes)
    return Inspection(kept, reasons, len(bad), dict(converted))


def _look_at_image(source: Any) -> Seen:
    try:
        if isinstance(source, Path) and source.is_file() and not source.stat().st_size:
            return Seen("", "", problem="the file is empty.")
        pixels, notes = decode(source)
    except DataError as error:
        return Seen("", "", problem=_without_place(error))
    digest = digest_bytes(f"{pixels.shape}".encode() + pixels.tobytes())[:32]
    size = pixels.shape[1], pixels.shape[0]
    if REDUCED in notes and isinstance(source, Path):
        size = size_of(source)
    return Seen(digest, digest, look=look_at(pixels), size=size, notes=notes)


def _without_place(error: DataError) -> str:
    return str(error).removeprefix(f"{error.where}: ")


def _look_at_text(text: Any) -> Seen:
    if not text.strip():
        return Seen("", "", problem="the text is empty.")
    try:
        digest = digest_input(text)
    except UnicodeEncodeError:
        return Seen("", "", problem="the text holds half a surrogate pair, which is no character.")
    return Seen(digest, normalised_text(text) or digest, words=len(text.split()))


def _look_at_array(array: Any) -> Seen:
    digest = digest_input(array)
    return Seen(digest, digest)
