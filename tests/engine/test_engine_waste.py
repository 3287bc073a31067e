"""What training leaves out does not change what it learns: batches by length, rows of tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from regraft.engine.adapted import build
from regraft.engine.batches import Loader, epoch_batches
from regraft.engine.job import fold_stages
from regraft.engine.optimiser import Optimiser
from regraft.engine.tokens import token_rows
from small_jobs import (
    WHOLE,
    done,
    events_of,
    family_task,
    job,
    net_backbone,
    resolved,
    rows_task,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from regraft.backbones.backbone import Backbone
    from regraft.engine.job import Job

STEPS = 4


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=150),
    st.integers(1, 9),
    st.integers(0, 3),
    st.booleans(),
)
def test_an_epoch_is_every_item_once(
    lengths: list[int], size: int, epoch: int, by_length: bool
) -> None:
    rows = np.arange(3, 3 + len(lengths))
    known = np.array([0, 0, 0, *lengths]) if by_length else None
    batches = epoch_batches(rows, size=size, seed=1, draw=("fit", epoch), lengths=known)
    assert sorted(np.concatenate(batches)) == list(rows)
    assert all(1 <= len(one) <= size + 1 for one in batches)
    assert size == 1 or len(rows) == 1 or min(map(len, batches)) > 1
    again = epoch_batches(rows, size=size, seed=1, draw=("fit", epoch), lengths=known)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


def test_batches_by_length_hold_less_padding_and_stay_random() -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 512)

    def padded(known: np.ndarray[Any, Any] | None, epoch: int = 0) -> tuple[int, list[int]]:
        batches = epoch_batches(np.arange(512), size=8, seed=0, draw=("fit", epoch), lengths=known)
        longest = [int(lengths[one].max()) for one in batches]
        return sum(len(b) * m for b, m in zip(batches, longest, strict=True)), longest

    together, order = padded(lengths)
    assert together < 1.15 * lengths.sum() < padded(None)[0] / 1.4
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 0.3
    assert padded(lengths, 1)[1] != order


def bert_job(tmp_path: Any, backbone: Backbone, **fit: Any) -> Job:
    protocol = resolved("whole", **WHOLE, fit={"batch_size": 6, "clip_norm": 0.5, **fit})
    return job(tmp_path, family_task("text"), backbone, protocol)


def trained(one: Job, step: Callable[[Any, dict[str, torch.nn.Parameter]], Any]) -> dict[str, Any]:
    """Take some steps without dropout, with an optimiser of our choice."""
    stage = fold_stages(one.data, 1)[0]
    model = build(one, stage)
    model.evaluate()
    loader, update = Loader(one), step(model, model.trained())
    for start in range(STEPS):
        batch = loader.plain(stage.train[start * 4 : start * 4 + 6], depth=0)
        logits = model.head(model.features(batch.inputs, None, 0))
        torch.nn.functional.cross_entropy(logits, batch.labels).backward()
        update(start)
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_rows_of_tokens_train_as_the_whole_table_would(
    tmp_path: Any, families: dict[str, Backbone]
) -> None:
    one = bert_job(tmp_path, families["bert"], weight_decay=0.0)
    stage = fold_stages(one.data, 1)[0]

    def ours(model: Any, _: Any) -> Callable[[int], Any]:
        return Optimiser(one, stage, model, STEPS).step

    def dense(model: Any, parameters: dict[str, torch.nn.Parameter]) -> Callable[[int], Any]:
        rates = {n: g.rate_factor for g in model.trains.groups for n in g.names}
        adam = torch.optim.AdamW(
            [{"params": [p], "factor": rates[n]} for n, p in parameters.items()],
            weight_decay=0.0,
            fused=False,
        )
        schedule = Optimiser(one, stage, build(one, stage), STEPS).rate

        def step(at: int) -> None:
            torch.nn.utils.clip_grad_norm_(parameters.values(), 0.5)
            for group in adam.param_groups:
                group["lr"] = schedule(at) * group["factor"]
            adam.step()
            adam.zero_grad()

        return step

    found, expected = trained(one, ours), trained(one, dense)
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert torch.allclose(found[name], tensor, atol=2e-6), name


def test_rows_of_tokens_that_no_text_uses_keep_their_values(
    tmp_path: Any, families: dict[str, Backbone]
) -> None:
    backbone = families["bert"]
    one = bert_job(tmp_path, backbone, weight_decay=0.5)
    stage = fold_stages(one.data, 1)[0]
    model = build(one, stage)
    (name,) = token_rows(one, stage, model)
    texts = one.data.prepared.gather(one.data.rows[stage.train])
    used = set(np.concatenate(texts).tolist())
    final = trained(one, lambda m, _: Optimiser(one, stage, m, STEPS).step)[name]
    before = backbone.module.get_parameter(name.removeprefix("backbone.")).detach()
    moved = {int(row) for row in (final != before).any(dim=1).nonzero()}
    assert used - {0} <= moved <= used | {0}
    assert len(moved) < len(before)


def test_the_linear_probes_head_is_solved_once_for_all(tmp_path: Path) -> None:
    """What trains from the probe starts from the head of the probe that ran before it."""
    task = rows_task()
    probe = job(tmp_path, task, net_backbone(), resolved("linear-probe"))
    upper = replace(probe, protocol=resolved("lp-ft-upper"))
    alone = job(tmp_path, task, net_backbone(), resolved("lp-ft-upper"))
    state = done(events_of(probe)).state
    (key,) = probe.data.solved
    stage = fold_stages(probe.data, 1)[0]
    heads = [build(one, stage).head for one in (upper, alone)]
    assert list(upper.data.solved) == list(alone.data.solved) == [key]
    assert upper.data.solved[key][0] is state["predictor.weight"]
    for ours, theirs in zip(*(one.parameters() for one in heads), strict=True):
        assert torch.equal(ours, theirs)
