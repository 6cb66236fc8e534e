"""Barlow Twins against Zbontar et al. 2021, eq. 1 and 2 (https://arxiv.org/abs/2103.03230) in NumPy, and lightly.

Pinned: λ is the 0.0051 of the authors' code; the paper says 0.005, as does lightly's default.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lightly.loss import BarlowTwinsLoss
from numpy.typing import NDArray
from torch import Tensor, nn

from study.criteria.barlow import Barlow
from study.criteria.base import Views
from study.methods.barlow_twins import BarlowTwins

Array = NDArray[np.float64]


def _reference(z: Array, redundancy_weight: float, epsilon: float) -> float:
    """One pair of dimensions at a time."""
    first, second = z - z.mean(axis=1, keepdims=True)
    total = 0.0
    for i in range(z.shape[-1]):
        for j in range(z.shape[-1]):
            x, y = first[:, i], second[:, j]
            correlation = np.mean(x * y) / math.sqrt((np.mean(x**2) + epsilon) * (np.mean(y**2) + epsilon))
            total += (1 - correlation) ** 2 if i == j else redundancy_weight * correlation**2
    return total


def _views(shape: tuple[int, int, int]) -> Array:
    rng = np.random.default_rng(0)
    views: Array = (rng.standard_normal(shape[1:]) + 0.5 * rng.standard_normal(shape)) * 1.5 + 0.7
    return views


def _loss(*views: Tensor, **settings: Any) -> float:
    return float(BarlowTwins(**settings).loss(torch.stack(views)))


@pytest.mark.parametrize("epsilon", [1e-5, 0.5])
@pytest.mark.parametrize("shape", [(2, 20, 6), (2, 6, 11), (2, 5, 5), (2, 3, 2)], ids=str)
def test_value_and_gradient(compare_loss: Callable[..., None], shape: tuple[int, int, int], epsilon: float) -> None:
    method = BarlowTwins(redundancy_weight=0.03, epsilon=epsilon)
    compare_loss(method.loss, lambda z: _reference(z, 0.03, epsilon), _views(shape))


@pytest.mark.parametrize("shape", [(2, 20, 6), (2, 6, 11)], ids=str)
def test_it_is_lightlys(shape: tuple[int, int, int]) -> None:
    """Value and gradient; only the default λ differs."""
    ours, theirs = (torch.from_numpy(_views(shape)).requires_grad_() for _ in range(2))
    a, b = BarlowTwins().loss(ours), BarlowTwinsLoss(lambda_param=0.0051)(*theirs)
    assert float(a.detach()) == pytest.approx(float(b.detach()), rel=1e-12)
    torch.testing.assert_close(torch.autograd.grad(a, ours), torch.autograd.grad(b, theirs), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("shape", [(2, 20, 6), (2, 6, 11)], ids=str)
def test_what_the_criterion_leaves_out_is_the_diagonal(shape: tuple[int, int, int]) -> None:
    z = torch.from_numpy(_views(shape))
    diagonal = BarlowTwins(redundancy_weight=0.0).loss(z)
    torch.testing.assert_close(BarlowTwins().loss(z) - diagonal, Barlow(weight=0.0051)(Views(z)).total)


def test_closed_forms() -> None:
    signs = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    assert _loss(signs, signs) == pytest.approx(0, abs=1e-9)
    assert _loss(signs, -signs) == pytest.approx(4 * 3, rel=1e-4)
    assert _loss(signs, signs.roll(1, dims=1)) == pytest.approx(3 + 0.0051 * 3, rel=1e-4)
    equal = signs[:, :1].expand(4, 3)
    assert _loss(equal, equal) == pytest.approx(0.0051 * 6, rel=1e-4)
    constant = torch.ones_like(signs)
    assert _loss(constant, constant) == pytest.approx(3)


def test_blind_to_scale_and_shift() -> None:
    first, second = torch.from_numpy(_views((2, 50, 6)))
    expected = _loss(first, second)
    assert _loss(10 * first - 3, second + torch.arange(6.0)) == pytest.approx(expected, rel=1e-4)


def test_the_network_projects_and_compares() -> None:
    torch.manual_seed(0)
    network = BarlowTwins(projection_dim=7, hidden_dim=9).build(nn.Identity(), representation_dim=6).double()
    views = list(torch.randn(2, 16, 6, dtype=torch.float64))
    output = network(views)
    torch.testing.assert_close(output.projections, torch.stack([network.projector(x) for x in views]))
    expected = BarlowTwinsLoss(lambda_param=0.0051)(*output.projections)
    assert float(output.loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)


def test_the_projector_has_the_layers_of_the_published_checkpoint() -> None:
    state = BarlowTwins().build(nn.Identity(), representation_dim=128).projector.state_dict()
    assert {name: tuple(state[name].shape) for name in state if state[name].ndim == 2} == {
        "0.weight": (256, 128), "3.weight": (256, 256), "6.weight": (256, 256),
    }  # fmt: skip
    assert {name for name in state if name.endswith("bias")} == {"1.bias", "4.bias"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"projection_dim": 0}, r"projection_dim must be >= 1, but got projection_dim=0"),
        ({"hidden_dim": 0}, r"hidden_dim must be >= 1, but got hidden_dim=0"),
        ({"redundancy_weight": -0.5}, r"redundancy_weight must be finite and >= 0, but got redundancy_weight=-0\.5"),
        ({"epsilon": 0.0}, r"epsilon must be finite and > 0, but got epsilon=0"),
    ],
)
def test_refused_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BarlowTwins(**settings)
