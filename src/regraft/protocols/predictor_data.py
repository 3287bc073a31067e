"""What a predictor sees of the items."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from regraft.features.logistic import KEPT_BYTES
from regraft.features.rows import chosen

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from regraft.features.rows import Features


@dataclass(frozen=True, slots=True, eq=False)
class PredictorData:
    """Items of one fit: the training rows first, then the validation rows.

    Attributes:
        kind: ``image``, ``text`` or ``array``.
        raw: Decoded inputs of all n items, where the predictor asked for them.
        features: Pooled features (n, width), where it asked for them.
        labels: Shape (n,); those of the rows to be predicted are not looked at.
        n_classes: C.
        n_train: How many rows, from the first, train.
        memory_bytes: What of the rows a solver may keep in memory, beside a few blocks.
    """

    kind: str
    raw: Sequence[Any] | None
    features: Features | None
    labels: np.ndarray[Any, Any]
    n_classes: int
    n_train: int
    memory_bytes: float = KEPT_BYTES

    def training(self) -> PredictorData:
        """Return the training rows."""
        return self._rows(slice(0, self.n_train), self.n_train)

    def validation(self) -> PredictorData:
        """Return the validation rows."""
        return self._rows(slice(self.n_train, None), 0)

    def need_raw(self) -> Sequence[Any]:
        """Return the raw inputs, which must be there."""
        if self.raw is None:
            raise AssertionError("the predictor did not ask for raw inputs (NEEDS)")
        return self.raw

    def need_features(self) -> Features:
        """Return the features, which must be there."""
        if self.features is None:
            raise AssertionError("the predictor did not ask for features (NEEDS)")
        return self.features

    def _rows(self, rows: slice, n_train: int) -> PredictorData:
        return replace(
            self,
            raw=None if self.raw is None else self.raw[rows],
            features=None if self.features is None else chosen(self.features, rows),
            labels=self.labels[rows],
            n_train=n_train,
        )
