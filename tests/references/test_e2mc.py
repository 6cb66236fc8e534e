"""E2MC against the formulas of its authors, transcribed to NumPy.

Source: https://arxiv.org/abs/2411.15931; the order of averaging and the place of ε follow main_swav_ent_ft.py
and main_vicreg_ent_ft.py of https://github.com/deepc94/e2mc, commit 875d8de.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.criteria.base import Views
from study.criteria.e2mc import E2MC

Array = NDArray[np.float64]
_NORMAL_CDF = np.vectorize(lambda z: math.erfc(-z / math.sqrt(2)) / 2, otypes=[np.float64])
_NORMAL_QUANTILE = np.vectorize(NormalDist().inv_cdf, otypes=[np.float64])


def _map(z: Array, name: str) -> Array:
    u: Array = _NORMAL_CDF(z) if name == "normal" else 1 / (1 + np.exp(-z))
    return u


def _slope(z: Array, name: str) -> Array:
    if name == "normal":
        return np.asarray(np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))
    return _map(z, name) * (1 - _map(z, name))


def _reference(z: Array, name: str, epsilon: float) -> tuple[float, float]:
    """Entropy and covariance terms of (views, N, D) projections, one dimension and one pair at a time."""
    num_views, num_rows, dim = z.shape
    m = round(math.sqrt(num_rows))
    entropy = covariance = 0.0
    for u in _map(z, name):
        for column in u.T:
            ordered = sorted(column)
            spacings = [(num_rows + 1) / m * (ordered[i + m] - ordered[i]) for i in range(num_rows - m)]
            entropy += sum(math.log(s + epsilon) for s in spacings) / (num_rows - m) / dim / num_views
        c = np.cov(u, rowvar=False)
        covariance += sum(c[i, j] ** 2 for i in range(dim) for j in range(dim) if i != j) / dim
    return entropy, covariance


def _reference_gradient(z: Array, criterion: E2MC) -> Array:
    """Gradient of the total by hand.

    dH/du_(k) = [1/(s_{k-m} + ε') - 1/(s_k + ε')] / (N - m) with s_k = u_(k+m) - u_(k), ε' = ε m / (N+1), and
    1/… = 0 where s does not exist; dR/dU = 4 Ū (C - diag C) / (D (N-1)).
    """
    num_views, num_rows, dim = z.shape
    m = round(math.sqrt(num_rows))
    gradient = np.empty_like(z)
    for v, u in enumerate(_map(z, criterion.map)):
        order = np.argsort(u, axis=0)
        ordered = np.take_along_axis(u, order, axis=0)
        inverse = 1 / (ordered[m:] - ordered[:-m] + criterion.epsilon * m / (num_rows + 1))
        sorted_gradient = np.zeros_like(u)
        sorted_gradient[m:] += inverse
        sorted_gradient[:-m] -= inverse
        entropy_gradient = np.empty_like(u)
        np.put_along_axis(entropy_gradient, order, sorted_gradient / (num_rows - m), axis=0)
        centred = u - u.mean(axis=0)
        c = np.cov(u, rowvar=False)
        covariance_gradient = 4 / (dim * (num_rows - 1)) * centred @ (c - np.diag(np.diag(c)))
        gradient[v] = criterion.covariance_weight * covariance_gradient
        gradient[v] -= criterion.entropy_weight / (num_views * dim) * entropy_gradient
    return gradient * _slope(z, criterion.map)


def _terms(z: Tensor, criterion: E2MC = E2MC()) -> dict[str, float]:  # noqa: B008  # frozen
    return {name: float(value) for name, value in criterion(Views(z)).terms.items()}


@pytest.mark.parametrize("squash", ["normal", "sigmoid"])
@pytest.mark.parametrize("shape", [(2, 64, 5), (1, 30, 40), (3, 2, 3)], ids=str)
@pytest.mark.parametrize("epsilon", [1e-7, 0.1])
def test_value_and_gradient(squash: Literal["normal", "sigmoid"], shape: tuple[int, int, int], epsilon: float) -> None:
    z = np.random.default_rng(1).standard_normal(shape) * 1.3 + 0.2
    criterion = E2MC(entropy_weight=0.7, covariance_weight=2.5, map=squash, epsilon=epsilon)
    projections = torch.tensor(z, requires_grad=True)
    result = criterion(Views(projections))
    result.total.backward()  # type: ignore[no-untyped-call]

    entropy, covariance = _reference(z, squash, epsilon)
    assert float(result.terms["entropy"]) == pytest.approx(entropy, rel=1e-10, abs=1e-12)
    assert float(result.terms["covariance"]) == pytest.approx(covariance, rel=1e-10)
    assert float(result.total.detach()) == pytest.approx(2.5 * covariance - 0.7 * entropy, rel=1e-10)
    expected = _reference_gradient(z, criterion)
    assert projections.grad is not None
    np.testing.assert_allclose(projections.grad.numpy(), expected, rtol=1e-8, atol=1e-10 * abs(expected).max())


def test_weight_zero_drops_the_gradient_and_keeps_the_report() -> None:
    z = torch.randn(2, 50, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    full = E2MC()(Views(z))
    for name, settings in E2MC.components.items():
        projections = z.clone().requires_grad_()
        criterion = E2MC(**settings)
        result = criterion(Views(projections))
        result.total.backward()  # type: ignore[no-untyped-call]
        assert result.terms == full.terms, name
        expected = _reference_gradient(z.numpy(), criterion)
        assert projections.grad is not None
        np.testing.assert_allclose(projections.grad.numpy(), expected, rtol=1e-8, atol=1e-10)


def test_equispaced_dimensions_have_entropy_log_of_one_plus_epsilon() -> None:
    grid = _NORMAL_QUANTILE(np.arange(1, 101) / 101)
    assert _terms(torch.from_numpy(grid)[None, :, None])["entropy"] == pytest.approx(math.log1p(1e-7), abs=1e-12)


def test_constant_projections_have_entropy_log_epsilon_and_no_covariance() -> None:
    terms = _terms(torch.ones(2, 100, 5, dtype=torch.float64))
    assert terms["entropy"] == pytest.approx(math.log(1e-7))
    assert terms["covariance"] == pytest.approx(0, abs=1e-30)


@pytest.mark.parametrize("num_rows", [256, 512])
def test_uniform_dimensions_show_the_known_bias(num_rows: int) -> None:
    """E[H] = log((N+1)/m) + ψ(m) - ψ(N+1), ψ(N+1) - ψ(m) = Σ_{k=m}^{N} 1/k; sd per dimension below 0.017."""
    m, dim = round(math.sqrt(num_rows)), 1000
    z = torch.from_numpy(np.random.default_rng(2).standard_normal((1, num_rows, dim)))
    expected = math.log((num_rows + 1) / m) - sum(1 / k for k in range(m, num_rows + 1))
    assert _terms(z)["entropy"] == pytest.approx(expected, abs=4 * 0.017 / math.sqrt(dim))


@pytest.mark.parametrize("correlation", [-0.9, 0.3, 0.5])
def test_covariance_of_a_gaussian_pair(correlation: float) -> None:
    """cov(Φ(x), Φ(y)) = asin(r/2) / 2π for jointly normal x, y; with D = 2 the term is its square."""
    x, y = np.random.default_rng(3).standard_normal((2, 100_000))
    pair = np.stack([x, correlation * x + math.sqrt(1 - correlation**2) * y], axis=-1)
    covariance = math.sqrt(_terms(torch.from_numpy(pair)[None])["covariance"])
    assert covariance == pytest.approx(abs(math.asin(correlation / 2)) / (2 * math.pi), abs=1e-3)


def test_independent_dimensions_keep_the_noise_floor_of_the_batch() -> None:
    """E[R] = (D-1) / (144 (N-1)) per view for independent uniform dimensions."""
    z = torch.from_numpy(np.random.default_rng(4).standard_normal((4, 512, 256)))
    assert _terms(z)["covariance"] == pytest.approx(4 * 255 / (144 * 511), rel=0.03)


@pytest.mark.parametrize(
    ("defect", "entropy", "covariance"),
    [
        ("ideal", -0.0215, 0.0018),
        ("scale 0.5", -0.414, 0.0002),
        ("scale 2", -0.473, 0.0053),
        ("mean shift 1", -0.520, 0.0008),
        ("rank 8", -0.019, 0.104),
        ("equicorrelated", -0.021, 0.197),
        ("Laplace", -0.057, 0.0012),
        ("bimodal", -0.510, 0.0029),
        ("half of the dims dead", -3.27, 0.0004),
    ],
)
def test_known_defects(defects: Mapping[str, Tensor], defect: str, entropy: float, covariance: float) -> None:
    """Scale, shift and marginal shape cost entropy, linear dependence costs covariance."""
    terms = _terms(defects[defect])
    assert terms["entropy"] == pytest.approx(entropy, rel=0.05, abs=0.003)
    assert terms["covariance"] == pytest.approx(covariance, rel=0.2, abs=1e-4)


def test_sigmoid_prefers_a_wider_scale(defects: Mapping[str, Tensor]) -> None:
    """The optimum of the logistic map has standard deviation π/√3 = 1.81, that of the normal map has 1."""
    entropies = {name: _terms(defects[name], E2MC(map="sigmoid"))["entropy"] for name in ("ideal", "scale 2")}
    assert entropies["ideal"] == pytest.approx(-0.274, abs=0.01)
    assert entropies["scale 2"] == pytest.approx(-0.031, abs=0.01)


def test_blind_spots() -> None:
    """Tied points beat uniform ones, and dependence without linear correlation goes unseen."""
    rng = np.random.default_rng(5)
    atoms = _NORMAL_QUANTILE(np.repeat(np.linspace(0.001, 0.999, 23), 23)[:512])  # m = 23 points each
    assert _terms(torch.from_numpy(atoms)[None, :, None])["entropy"] > 0
    u = rng.uniform(size=(512, 64))
    dependent = _NORMAL_QUANTILE(np.concatenate([u, abs(2 * u - 1)], axis=1))
    terms = _terms(torch.from_numpy(dependent)[None])
    assert terms["entropy"] == pytest.approx(-0.0205, abs=0.004)
    assert terms["covariance"] == pytest.approx(0.0017, rel=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"entropy_weight": -1.0}, r"entropy_weight must be finite and >= 0.*=-1"),
        ({"covariance_weight": math.nan}, r"covariance_weight must be finite and >= 0.*=nan"),
        ({"epsilon": 0.0}, r"epsilon must be finite and > 0.*=0"),
        ({"map": "tanh"}, r"map must be one of normal, sigmoid, but got map='tanh'"),
    ],
)
def test_refused_settings(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        E2MC(**settings)  # type: ignore[arg-type]
