"""SIGReg against the Epps-Pulley statistic of its own directions.

Balestriero & LeCun 2025, https://arxiv.org/abs/2511.08544; Epps & Pulley, Biometrika 70, 1983.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import integrate
from torch import Tensor

from study.criteria.base import Views
from study.criteria.sigreg import SIGReg

Array = NDArray[np.float64]


def _integrand(t: float, x: Array) -> float:
    """Weighted squared distance between the characteristic function of a sample and the normal one."""
    return float(abs(np.mean(np.exp(1j * t * x)) - math.exp(-(t**2) / 2)) ** 2 * math.exp(-(t**2) / 2))


def _reference(z: Array, criterion: SIGReg) -> float:
    """Mean over views and directions of the trapezoid sum."""
    directions = criterion.directions(z.shape[-1]).numpy()
    knots = np.linspace(0, criterion.max_frequency, criterion.num_knots)
    statistics = []
    for view in z:
        for a in directions.T:
            values = [_integrand(t, view @ a) for t in knots]
            statistics.append(2 * len(view) * np.trapezoid(values, knots))
    return float(np.mean(statistics))


def _statistic(z: Tensor, **settings: Any) -> float:
    return float(SIGReg(**settings)(Views(z)).terms["epps_pulley"])


@pytest.mark.parametrize("settings", [{}, {"num_knots": 2, "max_frequency": 1.5, "seed": 3}], ids=str)
@pytest.mark.parametrize("shape", [(2, 12, 4), (1, 5, 9), (3, 2, 1)], ids=str)
def test_value_and_gradient(
    compare: Callable[..., None], shape: tuple[int, int, int], settings: dict[str, Any]
) -> None:
    z = np.random.default_rng(0).standard_normal(shape) * 1.3 + 0.2
    criterion = SIGReg(weight=0.3, num_directions=7, **settings)
    compare(criterion, lambda z: 0.3 * _reference(z, criterion), z)
    assert _statistic(torch.from_numpy(z), num_directions=7, **settings) == pytest.approx(
        _reference(z, criterion), rel=1e-11
    )


def test_sum_over_knots_is_the_integral() -> None:
    """17 knots are within 1 % of adaptive quadrature of the same integrand, 2001 within 1e-6."""
    z = np.random.default_rng(1).standard_normal((1, 40, 3)) * 0.7 + 0.5
    directions = SIGReg(num_directions=5).directions(3).numpy()
    integrals = [integrate.quad(_integrand, -3, 3, args=(z[0] @ a,), epsabs=1e-12)[0] for a in directions.T]
    expected = 40 * float(np.mean(integrals))
    assert _statistic(torch.from_numpy(z), num_directions=5) == pytest.approx(expected, rel=0.01)
    assert _statistic(torch.from_numpy(z), num_directions=5, num_knots=2001) == pytest.approx(expected, rel=1e-6)


def test_the_integral_over_the_whole_line_has_a_closed_form() -> None:
    """T = √2π/N ΣΣ exp(-(x_i-x_j)²/2) - 2√π Σ exp(-x_i²/4) + N √(2π/3); in one dimension a = ±1."""
    x = np.random.default_rng(2).standard_normal(30) * 1.5
    pairs = np.exp(-((x[:, None] - x) ** 2) / 2).sum()
    expected = math.sqrt(2 * math.pi) / 30 * pairs - 2 * math.sqrt(math.pi) * np.exp(-(x**2) / 4).sum()
    expected += 30 * math.sqrt(2 * math.pi / 3)
    statistic = _statistic(torch.from_numpy(x)[None, :, None], num_directions=2, num_knots=400, max_frequency=12.0)
    assert statistic == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("num_rows", [20, 500])
def test_standard_normal_rows_show_the_known_mean(num_rows: int) -> None:
    """E[T] = ∫_{-3}^{3} (1 - exp(-t²)) exp(-t²/2) dt = 1.0527 at any N."""
    expected = integrate.quad(lambda t: (1 - math.exp(-(t**2))) * math.exp(-(t**2) / 2), -3, 3)[0]
    assert expected == pytest.approx(1.0527, abs=1e-4)
    z = torch.from_numpy(np.random.default_rng(3).standard_normal((16, num_rows, 64)))
    assert _statistic(z) == pytest.approx(expected, rel=0.05)


def test_directions_are_new_in_every_step_and_repeatable() -> None:
    criterion = SIGReg(num_directions=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = criterion.directions(6)
        state = torch.get_rng_state()
        assert torch.equal(criterion.directions(6), first)
        assert torch.equal(torch.get_rng_state(), state)
        torch.randn(10)  # what a network draws before the criterion changes nothing
        assert torch.equal(criterion.directions(6), first)
        assert not torch.equal(SIGReg(num_directions=4, seed=1).directions(6), first)
        torch.manual_seed(2)
        assert not torch.equal(criterion.directions(6), first)
        torch.manual_seed(1)
        assert torch.equal(criterion.directions(6), first)
    torch.testing.assert_close(first.norm(dim=0), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize(
    ("defect", "expected", "tolerance"),
    [
        ("ideal", 1.00, 0.1),
        ("scale 0.5", 78, 0.05),
        ("scale 2", 124, 0.05),
        ("mean shift 1", 211, 0.25),
        ("rank 8", 15.3, 0.15),
        ("equicorrelated", 16.9, 0.3),
        ("Laplace", 1.20, 0.15),
        ("bimodal", 1.17, 0.3),
        ("half of the dims dead", 27, 0.1),
    ],
)
def test_known_defects(defects: Mapping[str, Tensor], defect: str, expected: float, tolerance: float) -> None:
    """Scale, shift and dependence are seen; tolerances are those of one draw of directions."""
    assert _statistic(defects[defect]) == pytest.approx(expected, rel=tolerance)


def test_tight_clusters_are_seen(defects: Mapping[str, Tensor]) -> None:
    assert _statistic(defects["100 tight clusters"]) > 3 * _statistic(defects["ideal"])


def test_blind_to_marginal_shape(defects: Mapping[str, Tensor]) -> None:
    """Sums over 128 dimensions are normal whatever the marginals: these cost less than a 10 % error of scale."""
    slightly_wide = _statistic(1.1 * defects["ideal"])
    for name in ("Laplace", "bimodal"):
        assert _statistic(defects[name]) < slightly_wide


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": -0.5}, r"weight must be finite and >= 0.*=-0\.5"),
        ({"num_directions": 0}, r"num_directions must be >= 1, but got num_directions=0"),
        ({"num_knots": 1}, r"num_knots must be >= 2, but got num_knots=1"),
        ({"max_frequency": 0.0}, r"max_frequency must be finite and > 0.*=0"),
        ({"seed": -1}, r"seed must be >= 0, but got seed=-1"),
    ],
)
def test_refused_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SIGReg(**settings)
