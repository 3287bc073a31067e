from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from regraft.config.registry import kind_spec, kinds, load
from regraft.tasks.augmentation import light
from regraft.tasks.rebalancing import effective_number


def some_images() -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (6, 3, 20, 30), generator=draw, dtype=torch.uint8)


@pytest.mark.parametrize("kind", kinds("augment"))
def test_every_augmentation_keeps_form_and_draws_from_the_generator_alone(kind: str) -> None:
    spec, images = kind_spec("augment", kind, where="augment"), some_images()
    before, state = images.clone(), torch.get_rng_state()
    augment = load("augment", kind).augment
    once, again, other = (
        augment(spec, images, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert once.shape == images.shape
    assert once.dtype == torch.uint8
    assert torch.equal(once, again)
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(once, other) is (kind == "none")


def test_light_augmentation_mirrors_shifts_and_brightens_within_its_bounds() -> None:
    images = torch.full((200, 3, 10, 10), 100, dtype=torch.uint8)
    changed = light.augment(light.Spec(), images, torch.Generator().manual_seed(0))
    assert changed.min() >= 80
    assert changed.max() <= 120
    still = light.Spec(shift=0.0, brightness=0.0)
    mirrored = light.augment(still, some_images(), torch.Generator().manual_seed(0))
    is_flipped = [torch.equal(a, b.flip(-1)) for a, b in zip(mirrored, some_images(), strict=True)]
    is_same = [torch.equal(a, b) for a, b in zip(mirrored, some_images(), strict=True)]
    assert [a != b for a, b in zip(is_flipped, is_same, strict=True)] == [True] * 6
    assert any(is_flipped)
    assert any(is_same)


def test_a_shift_repeats_the_border() -> None:
    image = torch.arange(10, dtype=torch.uint8).repeat(1, 3, 10, 1)
    moved = light.augment(
        light.Spec(flip=False, brightness=0.0, shift=0.5), image, torch.Generator().manual_seed(3)
    )
    steps = moved[0, 0, 0].int().diff()
    assert set(steps.tolist()) <= {0, 1}


@pytest.mark.parametrize("kind", kinds("rebalance"))
@pytest.mark.parametrize("counts", [[5, 5], [5000, 500, 50], [3, 0]])
def test_every_rebalancing_gives_positive_weights_of_sum_c(kind: str, counts: list[int]) -> None:
    spec = kind_spec("rebalance", kind, where="rebalance")
    weights = load("rebalance", kind).weights(spec, np.array(counts))
    assert weights.sum() == pytest.approx(len(counts))
    assert (weights > 0).all()
    assert (np.diff(weights[np.argsort(counts)]) <= 1e-12).all()


def test_effective_numbers_are_those_of_the_paper() -> None:
    # Cui et al., CVPR 2019, eq. 4 with beta = .9999, by hand.
    weights = effective_number.weights(effective_number.Spec(), np.array([5000, 500, 50]))
    assert weights.tolist() == pytest.approx([0.034107, 0.275167, 2.690725], abs=1e-6)


def test_effective_numbers_lie_between_no_and_full_rebalancing() -> None:
    counts = np.array([100, 10])
    none = effective_number.weights(effective_number.Spec(beta=0.0), counts)
    full = effective_number.weights(effective_number.Spec(beta=1 - 1e-9), counts)
    assert none.tolist() == [1.0, 1.0]
    assert full.tolist() == pytest.approx([2 / 11, 20 / 11], rel=1e-5)


def test_settings_out_of_bounds_are_refused() -> None:
    with pytest.raises(ValidationError, match="less than 1"):
        effective_number.Spec(beta=1.0)
    with pytest.raises(ValidationError, match="extra"):
        light.Spec.model_validate({"kind": "light", "rotate": 3})
