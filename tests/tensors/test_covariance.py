from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from study.tensors.covariance import off_diagonal_covariance


def _samples(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5


@pytest.mark.parametrize(("rows", "dim"), [(40, 7), (7, 40), (8, 8), (2, 2), (2, 300), (300, 2)])
def test_equals_the_masked_covariance_of_numpy(rows: int, dim: int) -> None:
    samples = _samples(rows, dim)
    covariance = np.cov(samples.numpy(), rowvar=False)
    expected = (covariance[~np.eye(dim, dtype=bool)] ** 2).sum() / dim
    assert float(off_diagonal_covariance(samples)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("rows", "dim"), [(9, 4), (4, 9)])
def test_gradient(rows: int, dim: int) -> None:
    assert torch.autograd.gradcheck(off_diagonal_covariance, _samples(rows, dim).requires_grad_())


def test_leading_dimensions_are_kept() -> None:
    samples = _samples(2, 3, 10, 4)
    penalties = off_diagonal_covariance(samples)
    assert penalties.shape == (2, 3)
    torch.testing.assert_close(penalties[1, 2], off_diagonal_covariance(samples[1, 2]))


def test_few_rows_make_no_square_matrix_of_the_dimensions() -> None:
    """100,000 dimensions: their pairs would take 40 GB."""
    penalty = off_diagonal_covariance(_samples(8, 100_000).float())
    assert float(penalty) == pytest.approx(100_000 / 7, rel=0.05)


def test_one_sample_has_no_covariance() -> None:
    with pytest.raises(ValueError, match="needs N >= 2 samples, but got N=1"):
        off_diagonal_covariance(torch.zeros(1, 3))
