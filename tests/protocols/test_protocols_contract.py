"""What every kind must keep to, whoever wrote it: run over all that the registry finds."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from regraft.config.registry import FOLDERS, kind_spec, kinds, load
from regraft.config.spec import resolved
from regraft.hashing import canonical_json
from regraft.protocols.predictor_data import PredictorData

if TYPE_CHECKING:
    from types import ModuleType

    from regraft.backbones.backbone import Backbone
    from regraft.protocols.insertion import Inserted

FAMILIES = ("bert", "resnet", "convnext", "maps", "tokens")
BUILDERS = {
    "head": ("build",),
    "module": ("insert",),
    "rate": ("factor",),
    "unfreeze": ("lowest_open",),
    "predictor": ("fit", "predict"),
}
ALL = [(folder, kind) for folder in BUILDERS for kind in kinds(folder)]
over_modules = pytest.mark.parametrize("kind", kinds("module"))
over_families = pytest.mark.parametrize("family", FAMILIES)


@pytest.mark.parametrize(("folder", "kind"), ALL)
def test_a_kind_is_one_closed_spec_and_its_builders(folder: str, kind: str) -> None:
    module = load(folder, kind)
    spec = kind_spec(folder, kind, where="here")
    assert spec.kind == kind
    assert module.__name__.startswith(FOLDERS[folder])
    assert all(callable(getattr(module, name)) for name in BUILDERS[folder])
    with pytest.raises(ValidationError, match="Extra inputs"):
        module.Spec(kind=kind, surely_no_such_key=1)
    with pytest.raises(ValidationError, match="frozen"):
        spec.kind = "other"


@pytest.mark.parametrize(("folder", "kind"), ALL)
def test_a_spec_resolves_to_plain_json_and_back(folder: str, kind: str) -> None:
    plain = resolved(kind_spec(folder, kind, where="here"))
    assert canonical_json(plain)
    assert resolved(kind_spec(folder, plain, where="here")) == plain


# Modules


def insert(kind: str, backbone: Backbone, *, from_depth: int = 0, seed: int = 1) -> Inserted:
    module = load("module", kind)
    inserted: Inserted = module.insert(module.Spec(), backbone, from_depth=from_depth, seed=seed)
    return inserted


def features(backbone: Backbone) -> torch.Tensor:
    with torch.no_grad():
        return backbone.features(backbone.probe_batch())


def parameters(backbone: Backbone) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in backbone.module.named_parameters()}


def original(backbone: Backbone, inserted: Inserted) -> dict[str, torch.Tensor]:
    """Return the backbone's own tensors by the names that they have without modules."""
    tensors = parameters(backbone) | {n: b.clone() for n, b in backbone.module.named_buffers()}
    return {
        name.replace(".base_layer", ""): tensor
        for name, tensor in tensors.items()
        if name not in inserted.parameter_names
    }


def train(backbone: Backbone, inserted: Inserted, steps: int = 4) -> None:
    named = dict(backbone.module.named_parameters())
    trained = [named[name].requires_grad_() for name in inserted.parameter_names]
    optimiser = torch.optim.AdamW(trained, lr=0.1, weight_decay=0.0)
    target = torch.randn(features(backbone).shape, generator=torch.Generator().manual_seed(5))
    for _ in range(steps):
        optimiser.zero_grad()
        ((backbone.features(backbone.probe_batch()) - target) ** 2).mean().backward()
        optimiser.step()


@over_modules
@over_families
def test_a_fresh_module_changes_no_output_and_no_tensor(
    kind: str, family: str, backbones: dict[str, Backbone]
) -> None:
    backbone = backbones[family].copy()
    before, tensors = features(backbone), dict(backbone.module.state_dict())
    inserted = insert(kind, backbone)
    torch.testing.assert_close(features(backbone), before, rtol=1e-5, atol=1e-6)
    kept = original(backbone, inserted)
    assert {n: t for n, t in tensors.items() if not torch.equal(t, kept[n])} == {}
    assert not backbone.module.training
    assert not any(part.training for part in backbone.module.modules())


@over_modules
@over_families
def test_a_module_says_where_it_went(
    kind: str, family: str, backbones: dict[str, Backbone]
) -> None:
    backbone = backbones[family].copy()
    n_before = sum(p.numel() for p in backbone.module.parameters())
    inserted = insert(kind, backbone, from_depth=1)
    named = dict(backbone.module.named_parameters())
    n_new = sum(named[name].numel() for name in inserted.parameter_names)
    assert inserted.kind == kind
    assert n_before + n_new == sum(p.numel() for p in named.values())
    assert inserted.depths_named == tuple(range(1, backbone.n_blocks))
    assert set(inserted.depths_hit) <= set(inserted.depths_named)
    assert {backbone.depth_of(n) for n in inserted.parameter_names} == set(inserted.depths_hit)
    for name in inserted.module_names:
        assert any(p.startswith(f"{name}.") for p in inserted.parameter_names)


@over_modules
@over_families
def test_what_is_inserted_trains_and_the_frozen_stays_frozen(
    kind: str, family: str, backbones: dict[str, Backbone]
) -> None:
    backbone = backbones[family].copy()
    inserted = insert(kind, backbone)
    start, before = parameters(backbone), features(backbone)
    kept = original(backbone, inserted)
    train(backbone, inserted)
    moved = {n for n, p in parameters(backbone).items() if not torch.equal(p, start[n])}
    assert moved == set(inserted.parameter_names)
    after = original(backbone, inserted)
    assert {name for name in kept if not torch.equal(kept[name], after[name])} == set()
    assert not torch.allclose(features(backbone), before, atol=1e-3)


@over_modules
@over_families
def test_evaluation_computes_with_the_module_as_training_does(
    kind: str, family: str, backbones: dict[str, Backbone]
) -> None:
    backbone = backbones[family].copy()
    train(backbone, insert(kind, backbone))
    with_gradient = backbone.features(backbone.probe_batch()).detach()
    torch.testing.assert_close(features(backbone), with_gradient, rtol=1e-5, atol=1e-6)


@over_modules
@over_families
def test_a_module_depends_on_its_seed_alone(
    kind: str, family: str, backbones: dict[str, Backbone]
) -> None:
    state = torch.get_rng_state()
    made = []
    for seed in (1, 1, 2):
        backbone = backbones[family].copy()
        torch.rand(seed)
        inserted = insert(kind, backbone, seed=seed)
        named = parameters(backbone)
        made.append([named[name] for name in inserted.parameter_names])
    torch.set_rng_state(state)
    insert(kind, backbones[family].copy())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(map(torch.equal, made[0], made[1]))
    assert not all(map(torch.equal, made[0], made[2]))


@over_modules
@over_families
def test_a_module_survives_copies_and_stored_states(
    kind: str, family: str, backbones: dict[str, Backbone]
) -> None:
    backbone = backbones[family].copy()
    inserted = insert(kind, backbone)
    train(backbone, inserted)
    twin = backbone.copy()
    assert torch.equal(features(twin), features(backbone))
    assert list(twin.module.state_dict()) == list(copy.deepcopy(backbone).module.state_dict())
    again = backbones[family].copy()
    insert(kind, again, seed=9)
    again.module.load_state_dict(backbone.module.state_dict())
    assert torch.equal(features(again), features(backbone))
    train(twin, inserted, steps=1)
    assert torch.equal(features(again), features(backbone))


@over_modules
@over_families
def test_the_cut_stays_exact_with_modules_above_it(
    kind: str, family: str, backbones: dict[str, Backbone]
) -> None:
    backbone = backbones[family].copy()
    train(backbone, insert(kind, backbone, from_depth=1))
    batch = backbone.probe_batch()
    with torch.no_grad():
        hidden = backbones[family].hidden(batch, depth=1)
        suffix = backbone.features_from(hidden, batch, depth=1)
    assert torch.equal(suffix, features(backbone))


# Rates and unfreezing


@pytest.mark.parametrize("kind", kinds("rate"))
@pytest.mark.parametrize("total", [1, 2, 5, 9, 10, 333, 1000])
def test_a_rate_stays_between_zero_and_its_peak(kind: str, total: int) -> None:
    module = load("rate", kind)
    spec = module.Spec()
    factors = [module.factor(spec, step=step, total=total) for step in range(total)]
    assert all(0.0 < factor <= 1.0 for factor in factors)
    assert total == 1 or max(factors) > 0.8
    assert {"peak", "decay_per_depth", "head_factor"} <= set(type(spec).model_fields)


@pytest.mark.parametrize("kind", kinds("unfreeze"))
@pytest.mark.parametrize(("from_depth", "n_blocks"), [(0, 4), (2, 4), (11, 12), (0, 1)])
def test_unfreezing_walks_down_and_reaches_what_shall_train(
    kind: str, from_depth: int, n_blocks: int
) -> None:
    module = load("unfreeze", kind)
    opened = [
        module.lowest_open(module.Spec(), epoch=epoch, from_depth=from_depth, n_blocks=n_blocks)
        for epoch in range(3 * n_blocks)
    ]
    assert opened == sorted(opened, reverse=True)
    assert all(from_depth <= lowest <= n_blocks for lowest in opened)
    assert opened[-1] == from_depth


# Heads


@pytest.mark.parametrize("kind", kinds("head"))
@pytest.mark.parametrize("start", ["probe", "centroid", "zero", "random"])
def test_a_head_maps_features_to_logits_and_depends_on_its_seed_alone(
    kind: str, start: str
) -> None:
    module = load("head", kind)
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    outputs = []
    for seed in (1, 1, 2):
        torch.rand(seed)
        state = torch.get_rng_state()
        head = module.build(module.Spec(start=start), width=6, n_classes=3, seed=seed, solved=None)
        assert torch.equal(torch.get_rng_state(), state)
        outputs.append(head(x))
    assert outputs[0].shape == (5, 3)
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2]) == (start == "zero")


# Predictors


def items(kind: str, n: int = 24, *, n_train: int = 18, n_classes: int = 3) -> PredictorData:
    """Return items whose class shows in what every predictor looks at."""
    generator = np.random.default_rng(0)
    labels = np.arange(n) % n_classes
    words = ["red rose film", "blue sky one", "green leaf very"]
    raw: dict[str, list[Any]] = {
        "image": [
            np.uint8(generator.integers(0, 60, (9, 12, 3)) + 80 * np.eye(3)[label]).astype(np.uint8)
            for label in labels
        ],
        "text": [f"{words[label]} {'and' if i % 2 else 'or'}" for i, label in enumerate(labels)],
        "array": [np.float32(generator.normal(size=4) + 4 * np.eye(4)[label]) for label in labels],
    }
    features = generator.normal(size=(n, 7)) + 3 * np.eye(7)[labels]
    return PredictorData(
        kind=kind,
        raw=raw[kind],
        features=features.astype(np.float32),
        labels=labels,
        n_classes=n_classes,
        n_train=n_train,
    )


def fit(module: ModuleType, data: PredictorData) -> dict[str, np.ndarray[Any, Any]]:
    state: dict[str, np.ndarray[Any, Any]] = module.fit(module.Spec(), data, 0)
    return state


@pytest.mark.parametrize("predictor", kinds("predictor"))
@pytest.mark.parametrize("kind", ["image", "text", "array"])
@pytest.mark.parametrize("n_train", [18, 24])
def test_a_predictor_predicts_from_its_stored_state_alone(
    predictor: str, kind: str, n_train: int
) -> None:
    module = load("predictor", predictor)
    data = items(kind, n_train=n_train)
    state = fit(module, data)
    again = fit(module, data)
    assert all(np.array_equal(state[name], again[name]) for name in state | again)
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    stored = {name: np.asarray(tensor) for name, tensor in tensors.items()}
    logits = module.predict(module.Spec(), stored, data)
    assert logits.shape == (24, 3)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    if predictor != "majority":
        assert (logits.argmax(axis=1) == data.labels).mean() > 0.8


@pytest.mark.parametrize("predictor", kinds("predictor"))
@pytest.mark.parametrize("kind", ["image", "text", "array"])
def test_a_predictor_learns_nothing_from_the_labels_of_held_out_rows_it_predicts(
    predictor: str, kind: str
) -> None:
    module = load("predictor", predictor)
    data = items(kind)
    held_out = data.validation()
    blank = PredictorData(
        kind=kind,
        raw=held_out.raw,
        features=held_out.features,
        labels=np.full(len(held_out.labels), -1),
        n_classes=3,
        n_train=0,
    )
    state = fit(module, data)
    expected = module.predict(module.Spec(), state, held_out)
    assert np.array_equal(module.predict(module.Spec(), state, blank), expected)


@pytest.mark.parametrize("predictor", kinds("predictor"))
@pytest.mark.parametrize("kind", ["image", "text", "array"])
def test_a_class_without_training_items_is_never_predicted(predictor: str, kind: str) -> None:
    module = load("predictor", predictor)
    full = items(kind)
    rows = np.flatnonzero(full.labels < 2)
    assert full.raw is not None
    assert full.features is not None
    data = PredictorData(
        kind=kind,
        raw=[full.raw[row] for row in rows],
        features=full.features[rows],
        labels=full.labels[rows],
        n_classes=3,
        n_train=len(rows),
    )
    logits = module.predict(module.Spec(), fit(module, data), data)
    assert np.isfinite(logits).all()
    assert not (logits.argmax(axis=1) == 2).any()
