"""KoLeo against Sablayrolles et al. 2019, eq. 3, by brute force; https://arxiv.org/abs/1806.03198."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.criteria.base import Views
from study.criteria.koleo import KoLeo

Array = NDArray[np.float64]


def _reference(z: Array, epsilon: float) -> float:
    """Minus the mean log distance to the nearest other row of the same view."""
    logs = []
    for view in z:
        e = [row / math.sqrt(sum(row**2)) for row in view]
        for i, row in enumerate(e):
            distances = [math.sqrt(sum((row - other) ** 2)) for j, other in enumerate(e) if j != i]
            logs.append(math.log(min(distances) + epsilon))
    return -float(np.mean(logs))


def _total(z: Tensor, epsilon: float = 1e-8) -> float:
    return float(KoLeo(weight=1.0, epsilon=epsilon)(Views(z)).total)


@pytest.mark.parametrize("epsilon", [1e-8, 0.1])
@pytest.mark.parametrize("shape", [(2, 20, 6), (1, 5, 30), (3, 2, 4)], ids=str)
def test_value_and_gradient(compare: Callable[..., None], shape: tuple[int, int, int], epsilon: float) -> None:
    z = np.random.default_rng(0).standard_normal(shape)
    criterion = KoLeo(weight=0.3, epsilon=epsilon)
    compare(criterion, lambda z: 0.3 * _reference(z, epsilon), z)
    term = float(criterion(Views(torch.from_numpy(z))).terms["neighbour_entropy"])
    assert term == pytest.approx(-_reference(z, epsilon), rel=1e-12)


def test_opposite_points_and_equal_points_are_the_extremes() -> None:
    opposite = torch.tensor([[[1.0, 0.0], [-3.0, 0.0]]], dtype=torch.float64)
    assert _total(opposite) == pytest.approx(-math.log(2 + 1e-8), rel=1e-12)
    assert _total(torch.ones(1, 5, 3, dtype=torch.float64)) == pytest.approx(-math.log(1e-8), rel=1e-6)


def test_equal_rows_have_no_gradient() -> None:
    z = torch.randn(1, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z[0, 1] = z[0, 0]
    z.requires_grad_()
    KoLeo(weight=1.0)(Views(z)).total.backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    others = torch.linalg.vector_norm(z.grad[0, 2:], dim=-1)
    assert bool(z.grad.isfinite().all()) and bool((others > 0).all())
    only_pair = z.detach()[:, :2].clone().requires_grad_()
    KoLeo(weight=1.0)(Views(only_pair)).total.backward()  # type: ignore[no-untyped-call]
    assert only_pair.grad is not None and not only_pair.grad.any()


def test_neighbours_are_sought_within_a_view() -> None:
    """Equal views are no neighbours: the value is that of one view."""
    z = torch.randn(1, 30, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert _total(z.expand(2, -1, -1)) == pytest.approx(_total(z), rel=1e-12)


def test_small_distances_survive_single_precision() -> None:
    """The distance comes from a difference of rows, not from the Gram matrix, which knows it to 5e-4."""
    angles = torch.tensor([0.0, 1e-5, math.pi, math.pi + 1e-5], dtype=torch.float64)
    z = torch.stack([angles.cos(), angles.sin()], dim=-1)[None]
    assert _total(z.float()) == pytest.approx(_total(z), rel=1e-2)


@pytest.mark.parametrize(
    ("defect", "expected"),
    [
        ("ideal", -0.191),
        ("scale 0.5", -0.193),
        ("scale 2", -0.193),
        ("mean shift 1", 0.174),
        ("rank 8", 0.69),
        ("equicorrelated", 0.12),
        ("Laplace", -0.190),
        ("bimodal", -0.191),
        ("half of the dims dead", -0.118),
    ],
)
def test_known_defects(defects: Mapping[str, Tensor], defect: str, expected: float) -> None:
    """Shift, dependence and lost dimensions are seen; scale and marginal shape are not."""
    assert _total(defects[defect]) == pytest.approx(expected, abs=0.015)


def test_tight_clusters_cost_most(defects: Mapping[str, Tensor]) -> None:
    totals = {name: _total(z) for name, z in defects.items()}
    assert max(totals, key=lambda name: totals[name]) == "100 tight clusters"
    assert totals["100 tight clusters"] > 2


def test_blind_to_scale(defects: Mapping[str, Tensor]) -> None:
    for name in ("scale 0.5", "scale 2"):
        assert _total(defects[name]) == pytest.approx(_total(defects["ideal"]), rel=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": -0.5}, r"weight must be finite and >= 0.*=-0\.5"),
        ({"epsilon": 0.0}, r"epsilon must be finite and > 0.*=0"),
    ],
)
def test_refused_settings(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KoLeo(**settings)
