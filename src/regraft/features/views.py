"""Augmented views of each item: drawn once, the same for every run that asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch

from regraft.config.registry import kind_spec, load
from regraft.hashing import digest_bytes
from regraft.seeds import derive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regraft.features.store import ItemArrays


@dataclass(frozen=True, slots=True)
class View:
    """One of the views of every item.

    Attributes:
        augment: The augmentation, a resolved kind with its settings.
        index: Which view, 0 ≤ index < `of`.
        of: How many views an item has. Who has more has the same first ones.
    """

    augment: Mapping[str, Any] = field(hash=False)
    index: int
    of: int

    @property
    def key(self) -> dict[str, Any]:
        """What its images depend on besides the items, plain JSON."""
        return {"augment": dict(self.augment), "view": self.index}


@final
class ViewInputs:
    """Prepared images as one view shows them, drawn when they are asked for.

    What is drawn depends on the image itself, the view and the augmentation, never on the run, on
    other items of a batch, or on their order: a view that is kept and one that is drawn again are
    equal.
    """

    def __init__(
        self, prepared: ItemArrays, view: View, *, rows: np.ndarray[Any, Any] | None = None
    ) -> None:
        """Show prepared images.

        Args:
            prepared: Images before normalisation, uint8 (C, H, W).
            view: Which view of each.
            rows: Rows of the images that are the items; None is all of them.
        """
        self._prepared, self._view = prepared, view
        self._rows = np.arange(len(prepared)) if rows is None else rows
        self._spec = kind_spec("augment", dict(view.augment), where="data.augment")
        self._augment = load("augment", view.augment["kind"]).augment

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._rows)

    def gather(self, rows: Sequence[int] | np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        """Return the view's images of some items, uint8 (C, H, W)."""
        return [self._drawn(image) for image in self._prepared.gather(self._rows[np.asarray(rows)])]

    def lengths(self) -> np.ndarray[Any, Any]:
        """Return each item's number of values, shape (n,)."""
        lengths: np.ndarray[Any, Any] = self._prepared.lengths()[self._rows]
        return lengths

    def _drawn(self, image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        seed = derive(0, "view", digest_bytes(image.tobytes()), self._view.index)
        generator = torch.Generator().manual_seed(seed)
        drawn = self._augment(self._spec, torch.from_numpy(image).unsqueeze(0), generator)
        one: np.ndarray[Any, Any] = drawn[0].numpy()
        return one
