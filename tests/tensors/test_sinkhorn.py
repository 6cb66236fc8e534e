"""Sinkhorn-Knopp: its sums, its invariances, and an independent transcription with scaling vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.tensors.sinkhorn import sinkhorn


@pytest.fixture
def scores() -> Tensor:
    """Rows that prefer the first columns; two matrices."""
    noise = torch.rand(2, 40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return noise - 0.1 * torch.arange(6)


def _reference(scores: NDArray[np.float64], epsilon: float, num_iterations: int) -> NDArray[np.float64]:
    """Q = diag(r) exp(S/ε) diag(c): only the vectors change."""
    kernel = np.exp(scores / epsilon)
    rows = np.ones(len(kernel))
    for _ in range(num_iterations):
        columns = 1 / (kernel.T @ rows)
        rows = 1 / (kernel @ columns)
    return rows[:, None] * kernel * columns


@pytest.mark.parametrize(("epsilon", "num_iterations"), [(0.05, 1), (0.05, 3), (1.0, 3), (0.2, 50)])
def test_equals_the_transcription(scores: Tensor, epsilon: float, num_iterations: int) -> None:
    for one, assigned in zip(scores.numpy(), sinkhorn(scores, epsilon, num_iterations).numpy(), strict=True):
        np.testing.assert_allclose(assigned, _reference(one, epsilon, num_iterations), rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("num_iterations", [1, 3, 20])
def test_rows_sum_to_one(scores: Tensor, num_iterations: int) -> None:
    sums = sinkhorn(scores, 0.05, num_iterations).sum(dim=-1)
    torch.testing.assert_close(sums, torch.ones_like(sums))


def test_columns_become_equal(scores: Tensor) -> None:
    imbalance = [float((sinkhorn(scores, 0.05, n).sum(dim=-2) - 40 / 6).abs().max()) for n in (1, 3, 10, 100, 1000)]
    assert imbalance == sorted(imbalance, reverse=True)
    assert imbalance[-1] < 1e-6


def test_what_does_not_matter(scores: Tensor) -> None:
    """A constant, a column's offset, and, once both sums hold, a row's; rows change places with their scores."""
    once, often = sinkhorn(scores, 0.05, 3), sinkhorn(scores, 0.2, 500)
    torch.testing.assert_close(sinkhorn(scores + 7, 0.05, 3), once)
    torch.testing.assert_close(sinkhorn(scores + torch.randn(6), 0.05, 3), once)
    torch.testing.assert_close(sinkhorn(scores + torch.randn(40, 1), 0.2, 500), often)
    order = torch.randperm(40)
    torch.testing.assert_close(sinkhorn(scores[:, order], 0.05, 3), once[:, order])


def test_small_epsilon_assigns_hard_and_large_epsilon_evenly(scores: Tensor) -> None:
    assert (sinkhorn(scores[:, :36], 1e-4, 2000).amax(dim=-1) > 0.9).double().mean() > 0.8
    torch.testing.assert_close(sinkhorn(scores, 1e6, 3), torch.full_like(scores, 1 / 6), rtol=1e-5, atol=0)


def test_extreme_scores_stay_finite(scores: Tensor) -> None:
    assigned = sinkhorn(1000 * scores.float(), 0.05, 3)
    assert assigned.isfinite().all()
    torch.testing.assert_close(assigned.sum(dim=-1), torch.ones(2, 40))


def test_has_no_gradient(scores: Tensor) -> None:
    assert not sinkhorn(scores.requires_grad_(), 0.05, 3).requires_grad
