"""InfoNCE against NT-Xent and decoupled contrastive learning, one anchor at a time.

Chen et al. 2020, eq. 1, https://arxiv.org/abs/2002.05709; Yeh et al. 2022, eq. 6, https://arxiv.org/abs/2110.06848.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from study.criteria.base import Views
from study.criteria.infonce import InfoNCE

Array = NDArray[np.float64]


def _reference(z: Array, temperature: float, decoupled: bool) -> float:
    losses = []
    for a, b in combinations(z, 2):
        e = [row / math.sqrt(sum(row**2)) for row in (*a, *b)]
        for i, anchor in enumerate(e):
            positive = (i + len(a)) % len(e)
            others = [k for k in range(len(e)) if k != i and not (decoupled and k == positive)]
            denominator = sum(math.exp(anchor @ e[k] / temperature) for k in others)
            losses.append(-math.log(math.exp(anchor @ e[positive] / temperature) / denominator))
    return float(np.mean(losses))


def _term(z: Tensor, **settings: Any) -> float:
    return float(InfoNCE(**settings)(Views(z)).terms["contrast"])


def _two_views(z: Tensor) -> Tensor:
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0), dtype=z.dtype)
    return torch.cat([z, z + 0.3 * z.std() * noise])


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("shape", [(2, 12, 6), (2, 5, 30), (3, 4, 7), (2, 2, 3)], ids=str)
def test_value_and_gradient(
    compare: Callable[..., None], shape: tuple[int, int, int], temperature: float, decoupled: bool
) -> None:
    z = np.random.default_rng(0).standard_normal(shape)
    z += 0.5 * z[0]
    criterion = InfoNCE(weight=0.3, temperature=temperature, decoupled=decoupled)
    compare(criterion, lambda z: 0.3 * _reference(z, temperature, decoupled), z)
    term = _term(torch.from_numpy(z), temperature=temperature, decoupled=decoupled)
    assert term == pytest.approx(_reference(z, temperature, decoupled), rel=1e-11)


def test_it_equals_cross_entropy_with_the_other_view_as_the_class() -> None:
    z = torch.randn(2, 20, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    e = functional.normalize(z, dim=-1).flatten(0, 1)
    logits = (e @ e.T / 0.5).fill_diagonal_(-math.inf)
    expected = functional.cross_entropy(logits, torch.arange(40).roll(20))
    assert _term(z, temperature=0.5) == pytest.approx(float(expected), rel=1e-12)


def test_decoupling_and_coupling_are_two_views_of_one_number() -> None:
    """Per anchor, NT-Xent = log(1 + exp(decoupled)); all anchors are equal here by symmetry."""
    z = torch.tensor([[[1.0, 0.2], [-1.0, -0.2]], [[1.0, -0.2], [-1.0, 0.2]]], dtype=torch.float64)
    assert _term(z) == pytest.approx(math.log1p(math.exp(_term(z, decoupled=True))), rel=1e-12)


def test_the_extremes() -> None:
    equal = torch.ones(2, 5, 3, dtype=torch.float64)
    assert _term(equal) == pytest.approx(math.log(9), rel=1e-12)
    assert _term(equal, decoupled=True) == pytest.approx(math.log(8), rel=1e-12)
    opposite = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]] * 2, dtype=torch.float64)
    assert _term(opposite, decoupled=True) == pytest.approx(math.log(2) - 20, rel=1e-12)


def test_a_low_temperature_does_not_overflow() -> None:
    """Positives at -1, the nearest negatives at +1: the value is 2/T but for the number of negatives."""
    z = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]], [[-1.0, 0.0], [1.0, 0.0]]])
    assert _term(z, temperature=1e-3) == pytest.approx(2e3)


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("defect", ["mean shift 1", "rank 8", "equicorrelated", "100 tight clusters"])
def test_shift_dependence_and_clusters_are_seen(defects: Mapping[str, Tensor], defect: str, decoupled: bool) -> None:
    ideal = _term(_two_views(defects["ideal"]), decoupled=decoupled)
    assert _term(_two_views(defects[defect]), decoupled=decoupled) > ideal + 1


@pytest.mark.parametrize("decoupled", [False, True])
def test_blind_to_scale_and_marginal_shape(defects: Mapping[str, Tensor], decoupled: bool) -> None:
    ideal = _term(_two_views(defects["ideal"]), decoupled=decoupled)
    for name in ("scale 0.5", "scale 2"):
        assert _term(_two_views(defects[name]), decoupled=decoupled) == pytest.approx(ideal, rel=1e-9)
    for name in ("Laplace", "bimodal"):
        assert _term(_two_views(defects[name]), decoupled=decoupled) == pytest.approx(ideal, rel=0.03)


def test_views_that_disagree_cost(defects: Mapping[str, Tensor]) -> None:
    """Unlike the criteria of one view, it also aligns."""
    z = _two_views(defects["ideal"])
    shuffled = torch.stack([z[0], z[1].roll(1, dims=0)])
    assert _term(shuffled) > _term(z) + 1


def test_one_view_is_not_enough() -> None:
    with pytest.raises(ValueError, match=r"InfoNCE needs projections of shape \(views >= 2, batch >= 2, dim\)"):
        InfoNCE()(Views(torch.zeros(1, 5, 3)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": -0.5}, r"weight must be finite and >= 0.*=-0\.5"),
        ({"temperature": 0.0}, r"temperature must be finite and > 0.*=0"),
    ],
)
def test_refused_settings(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InfoNCE(**settings)
