"""Barlow's redundancy against Zbontar et al. 2021, eq. 1 and 2; https://arxiv.org/abs/2103.03230."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import combinations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.criteria.barlow import Barlow
from study.criteria.base import Views

Array = NDArray[np.float64]


def _reference(z: Array, epsilon: float) -> float:
    """Mean over pairs of views of the squared off-diagonal cross-correlations, one at a time."""
    sums = []
    for a, b in combinations(z, 2):
        total = 0.0
        for i in range(z.shape[-1]):
            for j in range(z.shape[-1]):
                x, y = a[:, i] - a[:, i].mean(), b[:, j] - b[:, j].mean()
                correlation = np.mean(x * y) / math.sqrt((np.mean(x**2) + epsilon) * (np.mean(y**2) + epsilon))
                total += correlation**2 if i != j else 0.0
        sums.append(total)
    return float(np.mean(sums))


def _term(*views: Tensor) -> float:
    return float(Barlow()(Views(torch.cat(views))).terms["redundancy"])


def _noisy(z: Tensor) -> Tensor:
    """Another view of the same images."""
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0), dtype=z.dtype)
    return z + 0.3 * z.std() * noise


@pytest.mark.parametrize("epsilon", [1e-5, 0.5])
@pytest.mark.parametrize("shape", [(2, 20, 6), (2, 6, 11), (4, 5, 5), (3, 4, 7), (2, 3, 2)], ids=str)
def test_value_and_gradient(compare: Callable[..., None], shape: tuple[int, int, int], epsilon: float) -> None:
    z = np.random.default_rng(0).standard_normal(shape) * 1.5 + 0.7
    criterion = Barlow(weight=0.03, epsilon=epsilon)
    compare(criterion, lambda z: 0.03 * _reference(z, epsilon), z)
    term = float(criterion(Views(torch.from_numpy(z))).terms["redundancy"])
    assert term == pytest.approx(_reference(z, epsilon), rel=1e-11)


@pytest.mark.parametrize("shape", [(2, 64, 10), (2, 10, 64)], ids=str)
def test_it_equals_batch_normalisation_and_a_product(shape: tuple[int, int, int]) -> None:
    """The published recipe: batch normalisation without affine part, cross-correlation, everything off the diagonal."""
    z = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 + 1
    norm = nn.BatchNorm1d(shape[-1], affine=False).double()
    correlation = norm(z[0]).T @ norm(z[1]) / shape[1]
    expected = correlation.square().sum() - correlation.diagonal().square().sum()
    assert _term(z) == pytest.approx(float(expected), rel=1e-10)


def test_the_extremes() -> None:
    """Orthogonal dimensions have none, equal dimensions have D (D-1)."""
    signs = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)[None]
    assert _term(signs, signs) == pytest.approx(0, abs=1e-12)
    equal = signs[..., :1].expand(1, 4, 3)
    assert _term(equal, equal) == pytest.approx(6, rel=1e-4)


def test_independent_dimensions_keep_the_noise_floor_of_the_batch(defects: Mapping[str, Tensor]) -> None:
    """A correlation of N independent pairs has mean square 1 / (N-1)."""
    assert _term(defects["ideal"], defects["ideal"]) == pytest.approx(128 * 127 / 511, rel=0.03)


@pytest.mark.parametrize("defect", ["rank 8", "equicorrelated", "100 tight clusters"])
def test_dependence_is_seen(defects: Mapping[str, Tensor], defect: str) -> None:
    ideal = _term(defects["ideal"], _noisy(defects["ideal"]))
    assert _term(defects[defect], _noisy(defects[defect])) > 3 * ideal


@pytest.mark.parametrize("defect", ["scale 0.5", "scale 2", "mean shift 1", "Laplace", "bimodal"])
def test_blind_to_scale_shift_and_marginal_shape(defects: Mapping[str, Tensor], defect: str) -> None:
    ideal = _term(defects["ideal"], _noisy(defects["ideal"]))
    assert _term(defects[defect], _noisy(defects[defect])) == pytest.approx(ideal, rel=0.03)


def test_lost_dimensions_are_rewarded(defects: Mapping[str, Tensor]) -> None:
    """Without the diagonal term, dimensions that hold nothing but the views' noise do not correlate at all."""
    z = defects["half of the dims dead"]
    assert _term(z, _noisy(z)) < _term(defects["ideal"], _noisy(defects["ideal"]))


def test_one_view_is_not_enough() -> None:
    with pytest.raises(ValueError, match=r"Barlow needs projections of shape \(views >= 2, batch >= 2, dim\)"):
        Barlow()(Views(torch.zeros(1, 5, 3)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": -0.5}, r"weight must be finite and >= 0.*=-0\.5"),
        ({"epsilon": 0.0}, r"epsilon must be finite and > 0.*=0"),
    ],
)
def test_refused_settings(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Barlow(**settings)
