"""VICReg against Bardes et al. 2022 (https://arxiv.org/abs/2105.04906) in NumPy, and against lightly.

Implementations of this loss differ in scale; pinned here is that of the authors' code: the invariance is averaged over
dimensions, and the variance over the views. lightly agrees. The paper's eq. 5 and 6 sum both, and solo-learn sums the
variance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lightly.loss import VICRegLoss
from numpy.typing import NDArray
from torch import Tensor, nn

from study.methods.vicreg import VICReg

Array = NDArray[np.float64]


def _terms(z: Array, epsilon: float = 1e-4) -> tuple[float, float, float]:
    """Eq. 5, and the sums over views of eq. 1 and of eq. 4; one row, one dimension and one pair at a time."""
    _, num_rows, dim = z.shape
    invariance = sum(sum((a - b) ** 2) for a, b in zip(*z, strict=True)) / num_rows
    variance = covariance = 0.0
    for view in z:
        centred = view - view.mean(axis=0)
        for i in range(dim):
            deviation = math.sqrt(sum(centred[:, i] ** 2) / (num_rows - 1) + epsilon)
            variance += max(0.0, 1 - deviation) / dim
            for j in range(dim):
                if i != j:
                    covariance += (sum(centred[:, i] * centred[:, j]) / (num_rows - 1)) ** 2 / dim
    return float(invariance), variance, covariance


def _views(shape: tuple[int, int, int]) -> Array:
    """Correlated views whose dimensions lie on both sides of the hinge, none of them near it."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(shape)
    views: Array = (rng.standard_normal(shape[1:]) + 0.3 * noise) * np.linspace(0.3, 1.9, shape[-1]) + 0.4
    return views


def _loss(*views: Tensor, **settings: Any) -> float:
    return float(VICReg(**settings).loss(torch.stack(views)))


@pytest.mark.parametrize("shape", [(2, 20, 5), (2, 6, 9), (2, 2, 3)], ids=str)
@pytest.mark.parametrize("epsilon", [1e-4, 1e-2])
def test_value_and_gradient(compare_loss: Callable[..., None], shape: tuple[int, int, int], epsilon: float) -> None:
    method = VICReg(invariance_weight=3.0, variance_weight=0.7, covariance_weight=2.5, epsilon=epsilon)

    def total(z: Array) -> float:
        invariance, variance, covariance = _terms(z, epsilon)
        return 3.0 * invariance / shape[-1] + 0.7 * variance / 2 + 2.5 * covariance

    compare_loss(method.loss, total, _views(shape))


@pytest.mark.parametrize("shape", [(2, 20, 5), (2, 6, 9)], ids=str)
def test_it_is_lightlys(shape: tuple[int, int, int]) -> None:
    """Value and gradient at the default weights; nothing differs."""
    ours, theirs = (torch.from_numpy(_views(shape)).requires_grad_() for _ in range(2))
    a, b = VICReg().loss(ours), VICRegLoss()(*theirs)
    assert float(a.detach()) == pytest.approx(float(b.detach()), rel=1e-12)
    torch.testing.assert_close(torch.autograd.grad(a, ours), torch.autograd.grad(b, theirs), rtol=1e-10, atol=1e-13)


def test_weights_of_the_paper_and_of_the_code() -> None:
    """Eq. 6 with weights λ, μ, ν is this loss with weights D·λ, 2·μ, ν."""
    z = _views((2, 20, 5))
    invariance, variance, covariance = _terms(z)
    weights = {"invariance_weight": 5 * 0.8, "variance_weight": 2 * 1.5, "covariance_weight": 0.2}
    paper = 0.8 * invariance + 1.5 * variance + 0.2 * covariance
    assert _loss(*torch.from_numpy(z), **weights) == pytest.approx(paper, rel=1e-12)


def test_closed_forms() -> None:
    signs = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    ideal = signs * math.sqrt(3) / 2  # variances 1, covariances 0
    assert _loss(ideal, ideal) == pytest.approx(0, abs=1e-12)
    assert _loss(ideal, ideal + 0.5) == pytest.approx(25 * 0.25)
    constant = torch.ones_like(ideal)
    assert _loss(constant, constant) == pytest.approx(25 * (1 - math.sqrt(1e-4)))
    equal = ideal[:, :1].expand(4, 3)  # six pairs of covariance 1, two views
    assert _loss(equal, equal) == pytest.approx(2 * 6 / 3)


def test_the_network_projects_and_compares() -> None:
    torch.manual_seed(0)
    network = VICReg(projection_dim=7, hidden_dim=9).build(nn.Identity(), representation_dim=6).double()
    views = list(torch.randn(2, 16, 6, dtype=torch.float64))
    output = network(views)
    torch.testing.assert_close(output.projections, torch.stack([network.projector(x) for x in views]))
    expected = VICRegLoss()(*output.projections)
    assert float(output.loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)


def test_the_expander_has_the_layers_of_the_published_checkpoints() -> None:
    """Same positions and shapes, without the biases of the hidden layers."""
    state = VICReg().build(nn.Identity(), representation_dim=128).projector.state_dict()
    assert {name: tuple(state[name].shape) for name in state if state[name].ndim == 2} == {
        "0.weight": (256, 128), "3.weight": (256, 256), "6.weight": (256, 256),
    }  # fmt: skip
    assert {name for name in state if name.endswith("bias")} == {"1.bias", "4.bias"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"projection_dim": 0}, r"projection_dim must be >= 1, but got projection_dim=0"),
        ({"hidden_dim": -3}, r"hidden_dim must be >= 1, but got hidden_dim=-3"),
        ({"invariance_weight": -1.0}, r"invariance_weight must be finite and >= 0, but got invariance_weight=-1"),
        ({"variance_weight": math.nan}, r"variance_weight must be finite and >= 0, but got variance_weight=nan"),
        ({"covariance_weight": math.inf}, r"covariance_weight must be finite and >= 0, but got covariance_weight=inf"),
        ({"epsilon": 0.0}, r"epsilon must be finite and > 0, but got epsilon=0"),
    ],
)
def test_refused_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VICReg(**settings)
