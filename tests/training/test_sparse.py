"""The threshold on weights: by hand, which weights it spares, and what it leaves of noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mtquant.training.sparse import SparseAdamW


def test_every_weight_moves_to_0_and_stays_there_and_biases_do_not():
    layer = torch.nn.Linear(4, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -0.5, 0.04, -0.06]]))
        layer.bias.fill_(0.3)
    optimizer = SparseAdamW(layer.parameters(), lr=0.1, weight_decay=0.0, sparsity=0.5)
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    found = layer.weight.detach().numpy()[0]
    np.testing.assert_allclose(found, [0.45, -0.45, 0.0, -0.01], atol=1e-7)
    assert layer.bias.item() == pytest.approx(0.3)


def test_a_group_has_its_own_threshold():
    spared, bound = (torch.nn.Parameter(torch.ones(1, 1)) for _ in range(2))
    groups = [{"params": [bound]}, {"params": [spared], "sparsity": 0.0}]
    optimizer = SparseAdamW(groups, lr=0.1, weight_decay=0.0, sparsity=1.0)
    for parameter in (spared, bound):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert spared.item() == 1.0 and bound.item() == pytest.approx(0.9)


@pytest.mark.parametrize(("sparsity", "least", "most"), [(0.0, 25, 40), (0.5, 1, 1)])
def test_of_many_columns_those_that_say_something_are_kept(sparsity, least, most):
    rng = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(40, 1)
    optimizer = SparseAdamW(layer.parameters(), lr=0.01, weight_decay=0.0, sparsity=sparsity)
    for _ in range(1500):
        rows = torch.randn(64, 40, generator=rng)
        wanted = rows[:, :1] + 2.0 * torch.randn(64, 1, generator=rng)
        optimizer.zero_grad()
        ((layer(rows) - wanted) ** 2).mean().backward()
        optimizer.step()
    weights = layer.weight.detach().abs()[0]
    assert least <= (weights > 0.02).sum() <= most
    assert weights[0] > 0.3


@pytest.mark.parametrize("wrong", [-0.1, float("nan")])
def test_a_negative_threshold_is_refused(wrong):
    with pytest.raises(ValueError, match=r"sparsity .* must be 0 or above"):
        SparseAdamW([torch.nn.Parameter(torch.ones(1, 1))], sparsity=wrong)
