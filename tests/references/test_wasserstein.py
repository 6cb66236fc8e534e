"""Wasserstein uniformity against roots of matrices; Fang et al. 2024, https://arxiv.org/abs/2403.00642."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import linalg
from torch import Tensor

from study.criteria.base import Views
from study.criteria.wasserstein import Wasserstein
from study.errors import DivergedError

Array = NDArray[np.float64]


def _moments(z: Array) -> tuple[Array, Array]:
    """Mean and covariance (divided by the number of rows) of the normalised rows of all views."""
    rows = z.reshape(-1, z.shape[-1])
    e = rows / np.sqrt(np.sum(rows**2, axis=-1, keepdims=True))
    return e.mean(axis=0), np.cov(e, rowvar=False, bias=True)


def _reference(z: Array) -> float:
    """√(‖μ‖² + 1 + tr Σ - 2/√D tr Σ^{1/2}) by the eigenvalues of Σ."""
    mean, covariance = _moments(z)
    roots = np.sqrt(np.clip(np.linalg.eigvalsh(covariance), 0, None))
    squared = mean @ mean + 1 + np.trace(covariance) - 2 / math.sqrt(len(mean)) * roots.sum()
    return math.sqrt(squared)


def _term(z: Tensor) -> float:
    return float(Wasserstein()(Views(z)).terms["wasserstein"])


@pytest.mark.parametrize("shape", [(2, 20, 6), (1, 30, 9), (4, 7, 7)], ids=str)
def test_value_and_gradient(compare: Callable[..., None], shape: tuple[int, int, int]) -> None:
    z = np.random.default_rng(0).standard_normal(shape) + 0.3
    compare(Wasserstein(weight=0.4), lambda z: 0.4 * _reference(z), z)
    assert _term(torch.from_numpy(z)) == pytest.approx(_reference(z), rel=1e-12)


@pytest.mark.parametrize("shape", [(1, 6, 20), (2, 2, 9)], ids=str)
def test_value_with_fewer_rows_than_dimensions(shape: tuple[int, int, int]) -> None:
    """The reference takes roots of eigenvalues that are zero but for rounding, hence the tolerance."""
    z = np.random.default_rng(0).standard_normal(shape)
    assert _term(torch.from_numpy(z)) == pytest.approx(_reference(z), rel=1e-6)


def test_gradient_with_fewer_rows_than_dimensions() -> None:
    """Central differences of the criterion itself: the reference's are lost in the rounding of zero eigenvalues."""
    rng = np.random.default_rng(0)
    z, direction = torch.from_numpy(rng.standard_normal((2, 2, 5, 20)))
    projections = z.clone().requires_grad_()
    Wasserstein()(Views(projections)).total.backward()  # type: ignore[no-untyped-call]
    assert projections.grad is not None
    slope = float((projections.grad * direction).sum())
    expected = (_term(z + 1e-5 * direction) - _term(z - 1e-5 * direction)) / 2e-5
    assert slope == pytest.approx(expected, rel=1e-6)


def test_it_is_the_distance_between_two_gaussians() -> None:
    """W₂² = ‖μ-ν‖² + tr(Σ + T - 2 (T^{1/2} Σ T^{1/2})^{1/2}) for N(μ, Σ) and N(ν, T), by SciPy's matrix root."""
    z = np.random.default_rng(1).standard_normal((2, 40, 5)) * np.linspace(0.3, 2, 5) + 0.5
    mean, covariance = _moments(z)
    target = np.eye(5) / 5
    root = linalg.sqrtm(target)
    cross = linalg.sqrtm(root @ covariance @ root)
    squared = mean @ mean + np.trace(covariance + target - 2 * cross.real)
    assert _term(torch.from_numpy(z)) == pytest.approx(math.sqrt(squared), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ideal_is_zero(dtype: torch.dtype) -> None:
    """Both signs of every axis have mean zero and covariance I/D; the gradient there is finite."""
    axes = torch.eye(9, dtype=dtype)
    z = torch.cat([axes, -axes])[None].clone().requires_grad_()
    total = Wasserstein()(Views(z)).total
    assert float(total.detach()) == pytest.approx(0, abs=1e-6)
    total.backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None and bool(z.grad.isfinite().all())


def test_many_normal_rows_approach_zero() -> None:
    """Sampling error falls like the root of the number of rows."""
    rng = np.random.default_rng(2)
    few, many = (_term(torch.from_numpy(rng.standard_normal((1, n, 8)))) for n in (500, 50_000))
    assert many == pytest.approx(0, abs=0.01)
    assert few / many == pytest.approx(10, rel=0.3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rank", [1, 3])
def test_gradient_is_bounded_at_any_rank(rank: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(1, 40, rank, generator=generator) @ torch.randn(rank, 12, generator=generator)
    z = (z / z.norm(dim=-1, keepdim=True)).to(dtype).requires_grad_()
    Wasserstein()(Views(z)).total.backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    assert 0 < z.grad.norm() <= 2 / math.sqrt(40)


def test_equal_rows_are_the_worst() -> None:
    assert _term(torch.ones(2, 10, 7, dtype=torch.float64)) == pytest.approx(math.sqrt(2), rel=1e-12)


@pytest.mark.parametrize(
    ("defect", "expected"),
    [
        ("ideal", 0.259),
        ("scale 0.5", 0.254),
        ("scale 2", 0.255),
        ("mean shift 1", 0.80),
        ("rank 8", 1.23),
        ("equicorrelated", 0.59),
        ("Laplace", 0.259),
        ("bimodal", 0.259),
        ("half of the dims dead", 0.78),
        ("100 tight clusters", 0.65),
    ],
)
def test_known_defects(defects: Mapping[str, Tensor], defect: str, expected: float) -> None:
    """Shift, dependence, clusters and lost dimensions are seen; scale and marginal shape are not."""
    assert _term(defects[defect]) == pytest.approx(expected, rel=0.05)


def test_lost_dimensions_cost_more_the_more_they_are(defects: Mapping[str, Tensor]) -> None:
    kept = [128, 96, 64, 32, 8]
    totals = [_term(defects["ideal"] * (torch.arange(128) < k)) for k in kept]
    assert totals == sorted(totals)
    assert totals[-1] > 4 * totals[0]


def test_blind_to_scale(defects: Mapping[str, Tensor]) -> None:
    for name in ("scale 0.5", "scale 2"):
        assert _term(defects[name]) == pytest.approx(_term(defects["ideal"]), rel=1e-12)


def test_projections_that_are_not_finite_mean_divergence() -> None:
    with pytest.raises(DivergedError, match="wasserstein: the embeddings have no singular values"):
        Wasserstein()(Views(torch.full((2, 4, 3), math.nan)))


def test_refused_weight() -> None:
    with pytest.raises(ValueError, match=r"weight must be finite and >= 0.*=-1"):
        Wasserstein(weight=-1.0)
