"""The rows of a token embedding that a fit can move, trained as a table of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from regraft.engine.adapted import Adapted
    from regraft.engine.job import Job, Stage

_ITEMS_AT_ONCE = 1024


@final
class TokenRows:
    """The rows of an embedding that the training texts use.

    A vocabulary of 30,000 tokens is half of a small encoder, and a few hundred texts use a tenth of
    it. No gradient ever reaches the other rows, so their moments stay zero: AdamW needs to see only
    these. The others keep their pretrained values (they do not decay either).

    Attributes:
        values: The rows, shape (R, d); what the optimiser updates.
    """

    def __init__(self, table: nn.Embedding, rows: torch.Tensor) -> None:
        self._table, self._rows = table, rows
        table.sparse = True
        self.values = nn.Parameter(table.weight.detach()[rows])

    def take_gradient(self) -> None:
        """Move the gradient of the table to the rows."""
        gradient = self._table.weight.grad
        self._table.weight.grad = None
        if gradient is None:
            self.values.grad = None
            return
        gradient = gradient.coalesce()
        place = torch.searchsorted(self._rows, gradient.indices()[0])
        self.values.grad = torch.zeros_like(self.values).index_copy_(0, place, gradient.values())

    def write(self) -> None:
        """Write the rows into the table."""
        with torch.no_grad():
            self._table.weight.index_copy_(0, self._rows, self.values)

    def read(self) -> None:
        """Read the rows from the table."""
        with torch.no_grad():
            self.values.copy_(self._table.weight[self._rows])


def token_rows(job: Job, stage: Stage, model: Adapted) -> dict[str, TokenRows]:
    """Return, by parameter name, the token table that a stage trains; most fits train none."""
    table = model.backbone.token_table
    name = f"backbone.{table}.weight"
    if table is None or name not in model.trains.names:
        return {}
    module = model.backbone.module.get_submodule(table)
    if not isinstance(module, nn.Embedding):
        return {}
    used = np.zeros(module.num_embeddings, bool)
    for start in range(0, len(stage.train), _ITEMS_AT_ONCE):
        rows = job.data.rows[stage.train[start : start + _ITEMS_AT_ONCE]]
        batch = job.backbone.preprocess.collate(job.data.prepared.gather(rows))
        used[batch["input_ids"].numpy().ravel()] = True  # the padding's too
    rows_used = torch.from_numpy(np.flatnonzero(used)).to(module.weight.device)
    return {name: TokenRows(module, rows_used)}
