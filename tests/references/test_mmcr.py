"""MMCR against singular values from NumPy; Yerxa et al. 2023, https://arxiv.org/abs/2303.03307."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.criteria.base import Views
from study.criteria.mmcr import MMCR
from study.errors import DivergedError

Array = NDArray[np.float64]


def _centroids(z: Array) -> Array:
    """Means over views of normalised projections (views, batch, dim)."""
    return np.asarray(np.mean(z / np.linalg.norm(z, axis=-1, keepdims=True), axis=0))


def _reference_gradient(z: Array) -> Array:
    """Gradient of the nuclear norm: UVᵀ / V, projected onto the sphere's tangent and divided by the norms."""
    u, _, vt = np.linalg.svd(_centroids(z), full_matrices=False)
    norms = np.linalg.norm(z, axis=-1, keepdims=True)
    e, outer = z / norms, (u @ vt)[None] / len(z)
    return np.asarray((outer - e * (e * outer).sum(axis=-1, keepdims=True)) / norms)


@pytest.mark.parametrize("shape", [(2, 20, 6), (2, 6, 20), (4, 7, 7), (1, 2, 3)], ids=str)
def test_value_and_gradient(shape: tuple[int, int, int]) -> None:
    z = np.random.default_rng(0).standard_normal(shape)
    projections = torch.tensor(z, requires_grad=True)
    result = MMCR(weight=0.2)(Views(projections))
    result.total.backward()  # type: ignore[no-untyped-call]
    expected = np.linalg.norm(_centroids(z), ord="nuc")
    assert float(result.terms["nuclear_norm"]) == pytest.approx(expected, rel=1e-12)
    assert float(result.total.detach()) == pytest.approx(-0.2 * expected, rel=1e-12)
    assert projections.grad is not None
    np.testing.assert_allclose(projections.grad.numpy(), -0.2 * _reference_gradient(z), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_is_bounded_at_any_rank(rank: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(1, 40, rank, generator=generator) @ torch.randn(rank, 12, generator=generator)
    z = (z / z.norm(dim=-1, keepdim=True)).to(dtype).requires_grad_()
    MMCR(weight=1.0)(Views(z)).total.backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    assert z.grad.norm(dim=-1).max() <= 1 + 1e-4  # rows of UVᵀ are at most 1 long


def test_bound() -> None:
    """‖C‖_* ≤ √min(N, D) ‖C‖_F, reached by an orthonormal basis whose views agree."""
    z = torch.eye(8, dtype=torch.float64).expand(2, 8, 8)
    assert float(MMCR()(Views(z)).terms["nuclear_norm"]) == pytest.approx(8)


@pytest.mark.parametrize(
    ("defect", "expected"),
    [
        ("ideal", 247.6),
        ("scale 0.5", 248),
        ("scale 2", 248),
        ("mean shift 1", 190),
        ("rank 8", 63.7),
        ("equicorrelated", 212),
        ("bimodal", 248),
        ("half of the dims dead", 178),
        ("100 tight clusters", 202),
    ],
)
def test_known_defects(defects: Mapping[str, Tensor], defect: str, expected: float) -> None:
    """Shift, dependence and lost dimensions are seen; scale and marginal shape are not."""
    assert float(MMCR()(Views(defects[defect])).terms["nuclear_norm"]) == pytest.approx(expected, rel=0.02)


def test_projections_that_are_not_finite_mean_divergence() -> None:
    with pytest.raises(DivergedError, match="nuclear_norm: the embeddings have no singular values"):
        MMCR()(Views(torch.full((2, 4, 3), math.nan)))


def test_refused_weight() -> None:
    with pytest.raises(ValueError, match=r"weight must be finite and >= 0.*=-1"):
        MMCR(weight=-1.0)
