"""Uniformity against Wang & Isola 2020, §4.1, one pair at a time; https://arxiv.org/abs/2005.10242."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.criteria.base import Views
from study.criteria.uniformity import Uniformity

Array = NDArray[np.float64]


def _reference(z: Array, kernel_scale: float) -> float:
    values = []
    for view in z:
        e = [row / np.linalg.norm(row) for row in view]
        pairs = [(i, j) for i in range(len(e)) for j in range(i + 1, len(e))]
        potentials = [math.exp(-kernel_scale * sum((e[i] - e[j]) ** 2)) for i, j in pairs]
        values.append(math.log(sum(potentials) / len(pairs)))
    return float(np.mean(values))


def _term(z: Tensor, kernel_scale: float = 2.0) -> float:
    return float(Uniformity(kernel_scale=kernel_scale)(Views(z)).terms["uniformity"])


@pytest.mark.parametrize("kernel_scale", [0.5, 2.0, 3.0])
@pytest.mark.parametrize("shape", [(2, 20, 6), (1, 5, 30), (3, 2, 4)], ids=str)
def test_value_and_gradient(shape: tuple[int, int, int], kernel_scale: float) -> None:
    rng = np.random.default_rng(0)
    z, direction = rng.standard_normal((2, *shape))
    projections = torch.tensor(z, requires_grad=True)
    result = Uniformity(weight=0.3, kernel_scale=kernel_scale)(Views(projections))
    result.total.backward()  # type: ignore[no-untyped-call]
    expected = _reference(z, kernel_scale)
    assert float(result.terms["uniformity"]) == pytest.approx(expected, rel=1e-12)
    assert float(result.total.detach()) == pytest.approx(0.3 * expected, rel=1e-12)
    step = 1e-5
    ahead, behind = (_reference(z + sign * step * direction, kernel_scale) for sign in (1, -1))
    assert projections.grad is not None
    slope = float((projections.grad * torch.from_numpy(direction)).sum())
    assert slope == pytest.approx(0.3 * (ahead - behind) / (2 * step), rel=1e-6)


def test_opposite_points_and_equal_points_are_the_extremes() -> None:
    opposite = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]], dtype=torch.float64)
    assert _term(opposite) == pytest.approx(-8)
    assert _term(torch.ones(1, 5, 3, dtype=torch.float64)) == pytest.approx(0, abs=1e-12)


def test_a_narrow_kernel_does_not_underflow() -> None:
    opposite = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])
    assert _term(opposite, kernel_scale=1e3) == pytest.approx(-4e3)


@pytest.mark.parametrize(
    ("defect", "expected"),
    [
        ("ideal", -3.94),
        ("scale 0.5", -3.94),
        ("scale 2", -3.94),
        ("mean shift 1", -1.97),
        ("rank 8", -3.07),
        ("equicorrelated", -3.10),
        ("Laplace", -3.94),
        ("bimodal", -3.94),
        ("half of the dims dead", -3.87),
        ("100 tight clusters", -3.57),
    ],
)
def test_known_defects(defects: Mapping[str, Tensor], defect: str, expected: float) -> None:
    """Shift, dependence and clusters are seen; scale and marginal shape are not."""
    assert _term(defects[defect]) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": -0.5}, r"weight must be finite and >= 0.*=-0\.5"),
        ({"weight": math.inf}, r"weight must be finite and >= 0.*=inf"),
        ({"kernel_scale": 0.0}, r"kernel_scale must be finite and > 0.*=0"),
    ],
)
def test_refused_settings(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Uniformity(**settings)
