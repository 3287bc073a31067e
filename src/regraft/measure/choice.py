"""Which test fits what was measured, and what cannot be concluded from it at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regraft.errors import ShapeError

Test = Literal["mcnemar", "paired_bootstrap", "wilcoxon", "nadeau_bengio", "aso", "friedman"]

FEWEST_PAIRS = 6
"""Five signs agree by chance in 2 of 32 cases: p = 0.0625."""
FEWEST_RANKED = 5
FEWEST_SPLITS = 3
FEWEST_UNPAIRED = 5
_MANY_SYSTEMS = 3


@dataclass(frozen=True, slots=True)
class Choice:
    """A test and why it is the one; no test where nothing could be concluded.

    Attributes:
        test: Its name, or None.
        why: In one sentence; where there is no test, what is missing.
    """

    test: Test | None
    why: str


def choose_comparison(
    *,
    n_systems: int = 2,
    n_items: int = 0,
    zero_one: bool = False,
    n_seeds: int = 1,
    n_datasets: int = 1,
    paired: bool = True,
    overlapping: bool = False,
) -> Choice:
    """Choose the test for two systems or more, or say why there is none.

    Args:
        n_systems: Systems compared, ≥ 2.
        n_items: Items that all of them predicted; 0 where only scores are known.
        zero_one: Whether an item is right or wrong, so that the metric is a share.
        n_seeds: Repetitions of each system (of the one with fewest).
        n_datasets: Data sets with a score of every system.
        paired: Whether the same seed means the same split and order for every system.
        overlapping: Whether repetitions are splits of one data set, whose training parts overlap.

    Raises:
        ShapeError: There are fewer than 2 systems.

    Example:
        >>> choose_comparison(n_items=500, zero_one=True).test
        'mcnemar'
        >>> choose_comparison(n_seeds=5).test is None
        True
    """
    if n_systems < 2:
        raise ShapeError(f"choose_comparison: {n_systems} system. Give at least 2.")
    if n_datasets > 1:
        return _over_datasets(n_systems, n_datasets)
    if n_items:
        return _over_items(n_items, n_seeds, zero_one=zero_one)
    if overlapping:
        return _over_splits(n_seeds)
    return _over_seeds(n_seeds, paired=paired)


def _over_datasets(n_systems: int, n: int) -> Choice:
    if n_systems >= _MANY_SYSTEMS:
        if n < FEWEST_RANKED:
            return Choice(
                None,
                f"{n_systems} systems on {n} data sets: too few for their ranks to say anything. "
                f"Give at least {FEWEST_RANKED} data sets.",
            )
        return Choice(
            "friedman",
            f"{n_systems} systems on {n} data sets: Friedman's test of their ranks, then Nemenyi's "
            "of all pairs, since scores of different data sets have no common scale",
        )
    if n < FEWEST_PAIRS:
        return _too_few("data sets", n)
    return Choice(
        "wilcoxon",
        f"{n} data sets: Wilcoxon's signed ranks, since differences on different data sets are not "
        "normal and share no scale",
    )


def _over_items(n_items: int, n_seeds: int, *, zero_one: bool) -> Choice:
    if n_items < FEWEST_PAIRS:
        return _too_few("items", n_items)
    if zero_one and n_seeds == 1:
        return Choice(
            "mcnemar",
            f"the same {n_items} items, right or wrong: McNemar's test (mid-p) of those on which "
            "just one of the two is right",
        )
    seeds = f", {n_seeds} seeds of each averaged" if n_seeds > 1 else ""
    return Choice(
        "paired_bootstrap",
        f"the same {n_items} items{seeds}: a paired bootstrap of items, which serves any metric",
    )


def _over_splits(n_seeds: int) -> Choice:
    if n_seeds < FEWEST_SPLITS:
        return Choice(
            None,
            f"{n_seeds} split{'s' * (n_seeds != 1)} cannot show how much splits vary. Give "
            f"at least {FEWEST_SPLITS}.",
        )
    return Choice(
        "nadeau_bengio",
        f"{n_seeds} splits whose training parts overlap: Nadeau and Bengio's corrected t, since a "
        "plain t-test would take them as independent",
    )


def _over_seeds(n: int, *, paired: bool) -> Choice:
    if n < 2:
        return Choice(
            None,
            "one score of each says nothing of chance. Give the items' predictions, or at least "
            f"{FEWEST_PAIRS} seeds.",
        )
    if not paired:
        if n < FEWEST_UNPAIRED:
            return Choice(
                None,
                f"{n} unpaired seeds are too few to compare distributions. Give at least "
                f"{FEWEST_UNPAIRED}.",
            )
        return Choice(
            "aso", f"{n} seeds or more that are not pairs: almost stochastic order of the scores"
        )
    if n < FEWEST_PAIRS:
        return _too_few("seeds", n)
    return Choice("wilcoxon", f"{n} paired seeds: Wilcoxon's signed ranks, exact for so few")


def _too_few(what: str, n: int) -> Choice:
    return Choice(
        None,
        f"{n} {what} cannot tell systems apart at 0.05: the least p that they can reach is "
        f"{2.0 ** (1 - n):.4g}. Give at least {FEWEST_PAIRS}.",
    )
