from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from regraft.objectives.supervised import cross_entropy


def problem(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(12, 4, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, 4, (12,), generator=generator)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, (0.5, 1.0, 2.0, 0.0)])
def test_the_loss_equals_its_formula(smoothing: float, weights: tuple[float, ...] | None) -> None:
    logits, labels = problem()
    minus_log = -log_softmax(logits.numpy(), axis=1)
    w = np.ones(4) if weights is None else np.array(weights)
    rows, y = np.arange(12), labels.numpy()
    total = w[y].sum()
    right = (w[y] * minus_log[rows, y]).sum() / total
    even = (minus_log * w).sum() / 4 / total
    tensor = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    loss = cross_entropy(logits, labels, class_weights=tensor, label_smoothing=smoothing)
    assert loss.item() == pytest.approx((1 - smoothing) * right + smoothing * even)


def test_uniform_logits_cost_the_logarithm_of_the_classes() -> None:
    loss = cross_entropy(torch.zeros(3, 10), torch.arange(3))
    assert loss.item() == pytest.approx(np.log(10))


def test_the_gradient_is_probability_minus_target() -> None:
    logits, labels = problem(1)
    logits.requires_grad_()
    cross_entropy(logits, labels).backward()
    target = torch.nn.functional.one_hot(labels, 4)
    expected = (logits.detach().softmax(dim=1) - target) / 12
    torch.testing.assert_close(logits.grad, expected)


def test_equal_class_weights_change_nothing() -> None:
    logits, labels = problem(2)
    weighted = cross_entropy(logits, labels, class_weights=torch.full((4,), 7.0).double())
    torch.testing.assert_close(weighted, cross_entropy(logits, labels))
