"""Coding rate against eigenvalues from NumPy; Yu et al. 2020, eq. 1, https://arxiv.org/abs/2006.08558."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.criteria.base import Views
from study.criteria.coding_rate import CodingRate
from study.errors import DivergedError

Array = NDArray[np.float64]


def _reference(z: Array, epsilon: float) -> float:
    """½ Σ log of the eigenvalues of I + D/(Nε) EᵀE, always D × D and by the unsymmetric routine; mean over views."""
    num_rows, dim = z.shape[1:]
    rates = []
    for view in z:
        e = view / np.sqrt(np.sum(view**2, axis=-1, keepdims=True))
        eigenvalues = np.linalg.eigvals(np.eye(dim) + dim / (num_rows * epsilon) * e.T @ e)
        rates.append(0.5 * np.sum(np.log(eigenvalues.real)))
    return float(np.mean(rates))


def _total(z: Tensor, epsilon: float = 0.2) -> float:
    return float(CodingRate(weight=1.0, epsilon=epsilon)(Views(z)).total)


@pytest.mark.parametrize("epsilon", [0.2, 3.0])
@pytest.mark.parametrize("shape", [(2, 20, 6), (2, 6, 20), (4, 7, 7), (1, 2, 3)], ids=str)
def test_value_and_gradient(compare: Callable[..., None], shape: tuple[int, int, int], epsilon: float) -> None:
    z = np.random.default_rng(0).standard_normal(shape)
    criterion = CodingRate(weight=0.2, epsilon=epsilon)
    compare(criterion, lambda z: -0.2 * _reference(z, epsilon), z)
    term = float(criterion(Views(torch.from_numpy(z))).terms["coding_rate"])
    assert term == pytest.approx(_reference(z, epsilon), rel=1e-11)


def test_gradient_in_closed_form() -> None:
    """d rate / dE = a E (I + a EᵀE)⁻¹ with a = D/(Nε), projected onto the sphere's tangent."""
    z = np.random.default_rng(1).standard_normal((1, 12, 5))
    e = z[0] / np.linalg.norm(z[0], axis=-1, keepdims=True)
    a = 5 / (12 * 0.2)
    outer = a * e @ np.linalg.inv(np.eye(5) + a * e.T @ e)
    tangent = (outer - e * (e * outer).sum(axis=-1, keepdims=True)) / np.linalg.norm(z[0], axis=-1, keepdims=True)
    projections = torch.tensor(z, requires_grad=True)
    CodingRate(weight=1.0)(Views(projections)).total.backward()  # type: ignore[no-untyped-call]
    assert projections.grad is not None
    np.testing.assert_allclose(projections.grad.numpy()[0], -tangent, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(("num_rows", "dim"), [(12, 4), (4, 12), (8, 8)])
def test_even_directions_reach_the_bound_and_equal_ones_are_worst(num_rows: int, dim: int) -> None:
    rank = min(num_rows, dim)
    even = torch.eye(dim, dtype=torch.float64)[:rank].repeat(num_rows // rank, 1)[None]
    assert _total(even) == pytest.approx(-0.5 * rank * math.log(1 + dim / (rank * 0.2)), rel=1e-12)
    equal = torch.ones(1, num_rows, dim, dtype=torch.float64)
    assert _total(equal) == pytest.approx(-0.5 * math.log(1 + dim / 0.2), rel=1e-12)
    assert _total(even) < _total(equal)


@pytest.mark.parametrize(
    ("defect", "expected"),
    [
        ("ideal", -108.9),
        ("scale 0.5", -109),
        ("scale 2", -109),
        ("mean shift 1", -78),
        ("rank 8", -17.5),
        ("equicorrelated", -89.9),
        ("Laplace", -109),
        ("bimodal", -109),
        ("half of the dims dead", -75),
        ("100 tight clusters", -82),
    ],
)
def test_known_defects(defects: Mapping[str, Tensor], defect: str, expected: float) -> None:
    """Shift, dependence, clusters and lost dimensions are seen; scale and marginal shape are not."""
    assert _total(defects[defect]) == pytest.approx(expected, rel=0.02)


def test_blind_to_scale(defects: Mapping[str, Tensor]) -> None:
    for name in ("scale 0.5", "scale 2"):
        assert _total(defects[name]) == pytest.approx(_total(defects["ideal"]), rel=1e-12)


def test_projections_that_are_not_finite_mean_divergence() -> None:
    with pytest.raises(DivergedError, match="coding_rate: the embeddings have no log-determinant"):
        CodingRate()(Views(torch.full((2, 4, 3), math.nan)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": math.inf}, r"weight must be finite and >= 0.*=inf"),
        ({"epsilon": -0.2}, r"epsilon must be finite and > 0.*=-0\.2"),
    ],
)
def test_refused_settings(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CodingRate(**settings)
