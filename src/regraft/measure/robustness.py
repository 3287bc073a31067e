"""How much of a classifier is left on corrupted inputs, beside a reference classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from regraft.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class CorruptionErrors:
    """Errors under corruption as multiples of a reference classifier's; below 1 is more robust.

    Attributes:
        each: Corruption → Σ E / Σ E_reference over its severities.
        mean: mCE, the mean of `each`.
        relative: Mean of Σ (E − clean) / Σ (E_reference − clean_reference): how much more is lost
            than by the reference, whatever the clean errors; None where the reference loses nothing
            to one of the corruptions.
    """

    each: Mapping[str, float]
    mean: float
    relative: float | None


def corruption_errors(
    errors: Mapping[str, Sequence[float]],
    reference: Mapping[str, Sequence[float]],
    *,
    clean: float,
    clean_reference: float,
) -> CorruptionErrors:
    """Return the corruption error of each kind, their mean, and the relative one.

    Args:
        errors: Corruption → error at each severity, in [0, 1].
        reference: The same of the classifier that is compared with (for example the linear probe,
            or the model from scratch); same corruptions and severities.
        clean: Error on the inputs as they are.
        clean_reference: The reference's.

    Raises:
        ShapeError: The two do not hold the same corruptions and severities, or the reference makes
            no error under one of them.

    Reference:
        Hendrycks & Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and
        Perturbations, ICLR 2019, section 3.

    Example:
        >>> corruption_errors({"fog": [0.2]}, {"fog": [0.4]}, clean=0.1, clean_reference=0.2)
        CorruptionErrors(each={'fog': 0.5}, mean=0.5, relative=0.5)
    """
    if not errors or {k: len(v) for k, v in errors.items()} != {
        k: len(v) for k, v in reference.items()
    }:
        raise ShapeError(
            f"corruption_errors: {sorted(errors)} and {sorted(reference)} differ or hold nothing. "
            "Give the same corruptions and severities of both."
        )
    unfailing = [name for name, values in reference.items() if sum(values) <= 0]
    if unfailing:
        raise ShapeError(
            f"corruption_errors: the reference makes no error under {unfailing[0]!r}. "
            "Give a weaker reference, or compare errors as they are."
        )
    each = {name: sum(values) / sum(reference[name]) for name, values in errors.items()}
    lost = {
        name: sum(value - clean_reference for value in values) for name, values in reference.items()
    }
    relative = None
    if min(lost.values()) > 0:
        shares = [
            sum(value - clean for value in values) / lost[name] for name, values in errors.items()
        ]
        relative = sum(shares) / len(shares)
    return CorruptionErrors(each, sum(each.values()) / len(each), relative)
