"""AdamW over a protocol's parameter groups, its rate set anew at each step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import torch

from regraft.config.registry import kind_spec, load
from regraft.engine.tokens import token_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from regraft.engine.adapted import Adapted
    from regraft.engine.job import Job, Stage


@final
class Optimiser:
    """AdamW (Loshchilov & Hutter, ICLR 2019) with the protocol's schedule, groups and clipping.

    Parameters of blocks that are not open yet have no gradient and are left alone, state included.
    Of a token embedding only the rows that the training texts use are updated.
    """

    def __init__(self, job: Job, stage: Stage, model: Adapted, total_steps: int) -> None:
        rate = job.protocol["rate"]
        self._spec = kind_spec("rate", rate, where="rate")
        self._factor = load("rate", rate["kind"]).factor
        self._peak = float(rate["peak"])
        self._clip = float(job.protocol["fit"]["clip_norm"])
        self._total = total_steps
        self._names = sorted(model.trains.names)
        self._tables = token_rows(job, stage, model)
        self._parameters = model.trained() | {n: t.values for n, t in self._tables.items()}
        decay = float(job.protocol["fit"]["weight_decay"])
        self._factors = [group.rate_factor for group in model.trains.groups]
        self._adam = torch.optim.AdamW(
            [
                {
                    "params": [self._parameters[name] for name in group.names],
                    "weight_decay": decay if group.weight_decay else 0.0,
                }
                for group in model.trains.groups
            ],
            lr=self._peak,
            fused=True,
        )

    def rate(self, step: int) -> float:
        """Return the rate of groups with factor 1 at a step (0 is the first)."""
        return self._peak * float(self._factor(self._spec, step=step, total=self._total))

    def step(self, step: int) -> torch.Tensor:
        """Clip, update, forget the gradients; return their norm before clipping, a scalar."""
        for table in self._tables.values():
            table.take_gradient()
        with_gradient = [p for p in self._parameters.values() if p.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(with_gradient, self._clip)
        rate = self.rate(step)
        for group, factor in zip(self._adam.param_groups, self._factors, strict=True):
            group["lr"] = rate * factor
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)
        for table in self._tables.values():
            table.write()
        return norm

    def forget_gradients(self) -> None:
        """Drop the gradients of a step that did not end."""
        for table in self._tables.values():
            table.take_gradient()
        self._adam.zero_grad(set_to_none=True)

    def state(self) -> dict[str, torch.Tensor]:
        """Return copies of the moments and step counts, by parameter name."""
        tensors: dict[str, torch.Tensor] = {}
        for name in self._names:
            for key, value in self._adam.state.get(self._parameters[name], {}).items():
                tensors[f"{name}|{key}"] = value.detach().clone().cpu()
        return tensors

    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put back what `state` returned, for a model whose weights are back in place."""
        for table in self._tables.values():
            table.read()
        for full, value in tensors.items():
            name, key = full.rsplit("|", 1)
            parameter = self._parameters[name]
            slot: dict[str, Any] = self._adam.state[parameter]
            slot[key] = value.clone().to(parameter.device)
