"""The sealed test part: inputs to predict, labels that only the final evaluation opens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, final

from regraft.hashing import digest_json

if TYPE_CHECKING:
    from regraft.tasks.items import Items


@final
class SealedPart:
    """Holds the test items; their labels come out through `open` alone.

    Attributes:
        inputs: The items without labels.
        digest: Digest of the inputs; openings are counted by it.
    """

    def __init__(self, items: Items) -> None:
        self.inputs = items.without_labels()
        self.digest = digest_json(list(items.digests))
        self._labels = items.labels

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.inputs)

    def open(self) -> Items:
        """Return the items with their labels. Record the opening in the ledger first."""
        return replace(self.inputs, labels=self._labels)
