"""SimCLR against Chen et al. 2020, eq. 1 (https://arxiv.org/abs/2002.05709) in NumPy, and against lightly."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lightly.loss import NTXentLoss
from numpy.typing import NDArray
from torch import Tensor, nn

from study.criteria.base import Views
from study.criteria.infonce import InfoNCE
from study.methods.simclr import SimCLR

Array = NDArray[np.float64]


def _reference(z: Array, temperature: float) -> float:
    """One anchor at a time."""
    e = [row / math.sqrt(sum(row**2)) for row in z.reshape(-1, z.shape[-1])]
    losses = []
    for i, anchor in enumerate(e):
        positive = (i + len(e) // 2) % len(e)
        denominator = sum(math.exp(anchor @ e[k] / temperature) for k in range(len(e)) if k != i)
        losses.append(-math.log(math.exp(anchor @ e[positive] / temperature) / denominator))
    return float(np.mean(losses))


def _views(shape: tuple[int, int, int]) -> Array:
    rng = np.random.default_rng(0)
    views: Array = rng.standard_normal(shape[1:]) + 0.5 * rng.standard_normal(shape)
    return views


def _loss(*views: Tensor, **settings: Any) -> float:
    return float(SimCLR(**settings).loss(torch.stack(views)))


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("shape", [(2, 12, 6), (2, 5, 30), (2, 2, 3)], ids=str)
def test_value_and_gradient(compare_loss: Callable[..., None], shape: tuple[int, int, int], temperature: float) -> None:
    method = SimCLR(temperature=temperature)
    compare_loss(method.loss, lambda z: _reference(z, temperature), _views(shape))


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_it_is_lightlys(temperature: float) -> None:
    """Value and gradient; nothing differs, the default temperature included."""
    ours, theirs = (torch.from_numpy(_views((2, 12, 6))).requires_grad_() for _ in range(2))
    a, b = SimCLR(temperature=temperature).loss(ours), NTXentLoss(temperature=temperature)(*theirs)
    assert float(a.detach()) == pytest.approx(float(b.detach()), rel=1e-12)
    torch.testing.assert_close(torch.autograd.grad(a, ours), torch.autograd.grad(b, theirs), rtol=1e-10, atol=1e-13)
    assert SimCLR().temperature == NTXentLoss().temperature


def test_the_criterion_is_the_same_contrast() -> None:
    z = torch.from_numpy(_views((2, 12, 6)))
    assert torch.equal(SimCLR(temperature=0.2).loss(z), InfoNCE(temperature=0.2)(Views(z)).total)


def test_closed_forms() -> None:
    equal = torch.ones(5, 3, dtype=torch.float64)
    assert _loss(equal, equal) == pytest.approx(math.log(2 * 5 - 1), rel=1e-12)
    orthogonal = torch.eye(5, dtype=torch.float64)
    assert _loss(orthogonal, orthogonal) == pytest.approx(math.log(math.exp(2) + 8) - 2, rel=1e-12)
    assert _loss(3 * orthogonal, 7 * orthogonal) == pytest.approx(math.log(math.exp(2) + 8) - 2, rel=1e-12)
    poles = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert _loss(poles, -poles, temperature=1e-3) == pytest.approx(2e3)  # the largest value; nothing overflows


def test_the_network_projects_and_compares() -> None:
    torch.manual_seed(0)
    network = SimCLR(projection_dim=7, hidden_dim=9).build(nn.Identity(), representation_dim=6).double()
    views = list(torch.randn(2, 16, 6, dtype=torch.float64))
    output = network(views)
    torch.testing.assert_close(output.projections, torch.stack([network.projector(x) for x in views]))
    assert float(output.loss.detach()) == pytest.approx(_reference(output.projections.detach().numpy(), 0.5), rel=1e-12)


def test_the_projector_has_one_hidden_layer() -> None:
    network = SimCLR().build(nn.Identity(), representation_dim=64)
    shapes = {name: tuple(p.shape) for name, p in network.projector.named_parameters()}
    assert shapes == {"0.weight": (256, 64), "1.weight": (256,), "1.bias": (256,), "3.weight": (128, 256)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"projection_dim": 0}, r"projection_dim must be >= 1, but got projection_dim=0"),
        ({"hidden_dim": 0}, r"hidden_dim must be >= 1, but got hidden_dim=0"),
        ({"temperature": 0.0}, r"temperature must be finite and > 0, but got temperature=0"),
        ({"temperature": math.nan}, r"temperature must be finite and > 0, but got temperature=nan"),
    ],
)
def test_refused_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SimCLR(**settings)
