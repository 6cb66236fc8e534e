from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import special
from torch import Tensor

from study.tensors.covariance import off_diagonal_covariance


def _samples(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5


@pytest.mark.parametrize("divisor", [None, 3, 511])
@pytest.mark.parametrize(("rows", "dim"), [(40, 7), (7, 40), (8, 8), (2, 2), (2, 300), (300, 2)])
def test_equals_the_masked_covariance_of_numpy(rows: int, dim: int, divisor: int | None) -> None:
    samples = _samples(rows, dim)
    covariance = np.cov(samples.numpy(), rowvar=False) * (1 if divisor is None else (rows - 1) / divisor)
    expected = (covariance[~np.eye(dim, dtype=bool)] ** 2).sum() / dim
    assert float(off_diagonal_covariance(samples, divisor)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("divisor", [None, 20])
@pytest.mark.parametrize("shape", [(9, 4), (4, 9), (5, 5), (2, 3, 6, 4), (3, 4, 6)], ids=str)
def test_gradient(shape: tuple[int, ...], divisor: int | None) -> None:
    samples = _samples(*shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: off_diagonal_covariance(x, divisor), samples)


@pytest.mark.parametrize(("rows", "dim"), [(30, 6), (6, 30)])
def test_gradient_in_closed_form(rows: int, dim: int) -> None:
    """dR/dX = 4 X̄ (C - diag C) / (D (N-1)); its columns add up to zero, because translation changes nothing."""
    samples = _samples(rows, dim).requires_grad_()
    (gradient,) = torch.autograd.grad(off_diagonal_covariance(samples), samples)
    points = samples.detach().numpy()
    covariance = np.cov(points, rowvar=False)
    np.fill_diagonal(covariance, 0)
    expected = 4 * (points - points.mean(axis=0)) @ covariance / (dim * (rows - 1))
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(gradient.sum(dim=0).numpy(), 0, atol=1e-14)


def test_leading_dimensions_are_kept() -> None:
    samples = _samples(2, 3, 10, 4)
    penalties = off_diagonal_covariance(samples)
    assert penalties.shape == (2, 3)
    torch.testing.assert_close(penalties[1, 2], off_diagonal_covariance(samples[1, 2]))


@pytest.mark.parametrize(("rows", "dim"), [(60, 20), (20, 60)])
def test_single_precision_in_single_precision_out(rows: int, dim: int) -> None:
    samples = _samples(rows, dim)
    single = samples.float().requires_grad_()
    penalty = off_diagonal_covariance(single)
    (gradient,) = torch.autograd.grad(penalty, single)
    assert penalty.dtype == gradient.dtype == torch.float32
    torch.testing.assert_close(penalty.detach().double(), off_diagonal_covariance(samples), rtol=1e-5, atol=0)


def test_few_rows_make_no_square_matrix_of_the_dimensions() -> None:
    """100,000 dimensions: their pairs would take 40 GB."""
    samples = _samples(8, 100_000).float().requires_grad_()
    penalty = off_diagonal_covariance(samples)
    penalty.backward()  # type: ignore[no-untyped-call]
    assert float(penalty.detach()) == pytest.approx(100_000 / 7, rel=0.05)
    assert samples.grad is not None and bool(samples.grad.isfinite().all())


@pytest.mark.parametrize(("rows", "dim"), [(512, 128), (100, 400)])
def test_independent_uniform_dimensions_keep_the_noise_floor_of_the_batch(rows: int, dim: int) -> None:
    """E[R] = (D-1) / (144 (N-1)): the mean square of a covariance of N pairs of variance 1/12 each."""
    penalties = off_diagonal_covariance(torch.from_numpy(np.random.default_rng(0).uniform(size=(40, rows, dim))))
    standard_error = float(penalties.std()) / math.sqrt(40)
    assert float(penalties.mean()) == pytest.approx((dim - 1) / (144 * (rows - 1)), abs=4 * standard_error)


@pytest.mark.parametrize("correlation", [-0.9, -0.4, 0.3, 0.5, 1.0])
def test_normal_pairs_after_the_normal_map(correlation: float) -> None:
    """cov(Φ(x), Φ(y)) = asin(r/2) / 2π for jointly normal x, y; with D = 2 the penalty is its square."""
    x, y = np.random.default_rng(3).standard_normal((2, 200_000))
    pair = np.stack([x, correlation * x + math.sqrt(1 - correlation**2) * y], axis=-1)
    covariance = math.sqrt(float(off_diagonal_covariance(torch.from_numpy(special.ndtr(pair)))))
    assert covariance == pytest.approx(abs(math.asin(correlation / 2)) / (2 * math.pi), abs=8e-4)


@pytest.mark.parametrize(("rows", "dim"), [(10, 4), (4, 10)])
def test_constant_samples_have_neither_value_nor_gradient(rows: int, dim: int) -> None:
    samples = torch.full((rows, dim), 0.3, requires_grad=True)
    penalty = off_diagonal_covariance(samples)
    penalty.backward()  # type: ignore[no-untyped-call]
    assert float(penalty.detach()) == pytest.approx(0, abs=1e-12)
    assert samples.grad is not None and float(samples.grad.abs().max()) < 1e-12


def test_one_sample_has_no_covariance() -> None:
    with pytest.raises(ValueError, match="needs N >= 2 samples, but got N=1"):
        off_diagonal_covariance(torch.zeros(1, 3))
