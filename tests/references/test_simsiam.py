"""SimSiam against Algorithm 1 of Chen & He 2021 in NumPy; https://arxiv.org/abs/2011.10566."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from study.methods.simsiam import SimSiam, SimSiamNetwork

Array = NDArray[np.float64]
Parameters = dict[str, Array]


def _linear(x: Array, parameters: Parameters, name: str) -> Array:
    product: Array = x @ parameters[f"{name}.weight"].T
    bias: Array = parameters.get(f"{name}.bias", np.zeros(()))
    return product + bias


def _batch_norm(x: Array, parameters: Parameters, name: str) -> Array:
    normed: Array = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)
    scale, shift = (parameters.get(f"{name}.{part}") for part in ("weight", "bias"))
    return normed if scale is None or shift is None else normed * scale + shift


def _heads(x: Array, parameters: Parameters) -> tuple[Array, Array]:
    """Projection z and prediction p of a batch; numbers are positions in the sequential heads."""
    z = np.maximum(_batch_norm(_linear(x, parameters, "projector.0"), parameters, "projector.1"), 0)
    z = np.maximum(_batch_norm(_linear(z, parameters, "projector.3"), parameters, "projector.4"), 0)
    z = _batch_norm(_linear(z, parameters, "projector.6"), parameters, "projector.7")
    p = np.maximum(_batch_norm(_linear(z, parameters, "predictor.0"), parameters, "predictor.1"), 0)
    return z, _linear(p, parameters, "predictor.3")


def _distance(p: Array, z: Array) -> float:
    """Eq. 1."""
    norms = np.linalg.norm(p, axis=1) * np.linalg.norm(z, axis=1)
    return float(-np.mean((p * z).sum(axis=1) / norms))


def _reference(views: tuple[Array, Array], parameters: Parameters, target_parameters: Parameters) -> float:
    """Eq. 4; constants of the stop-gradient are those of `target_parameters`."""
    (_, p1), (_, p2) = (_heads(x, parameters) for x in views)
    (z1, _), (z2, _) = (_heads(x, target_parameters) for x in views)
    return _distance(p1, z2) / 2 + _distance(p2, z1) / 2


@pytest.fixture
def network() -> SimSiamNetwork:
    torch.manual_seed(0)
    method = SimSiam(projection_dim=7, hidden_dim=9, predictor_hidden_dim=4)
    return method.build(nn.Identity(), representation_dim=6).double()


def test_value_and_gradient(network: SimSiamNetwork) -> None:
    rng = np.random.default_rng(0)
    x1, x2 = rng.standard_normal((2, 16, 6))
    output = network([torch.from_numpy(x1), torch.from_numpy(x2)])
    output.loss.backward()
    parameters = {name: p.detach().numpy().copy() for name, p in network.named_parameters()}
    assert float(output.loss.detach()) == pytest.approx(_reference((x1, x2), parameters, parameters), rel=1e-12)
    for projections, x in zip(output.projections, (x1, x2), strict=True):
        np.testing.assert_allclose(projections.detach().numpy(), _heads(x, parameters)[0], rtol=1e-10, atol=1e-12)

    for name, parameter in network.named_parameters():
        direction, step = rng.standard_normal(parameter.shape), 1e-6
        ahead, behind = (
            _reference((x1, x2), parameters | {name: parameters[name] + s * step * direction}, parameters)
            for s in (1, -1)
        )
        assert parameter.grad is not None
        slope = float((parameter.grad.numpy() * direction).sum())
        assert slope == pytest.approx((ahead - behind) / (2 * step), rel=1e-5, abs=1e-8), name


def test_criteria_reach_the_projector_through_the_projections(network: SimSiamNetwork) -> None:
    output = network([torch.randn(8, 6, dtype=torch.float64) for _ in range(2)])
    output.projections.square().square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.projector.parameters())
    assert all(p.grad is None for p in network.predictor.parameters())


def test_default_heads_have_the_documented_shape() -> None:
    network = SimSiam().build(nn.Identity(), representation_dim=128)
    shapes = [tuple(p.shape) for name, p in network.named_parameters() if p.ndim == 2]
    assert shapes == [(256, 128), (256, 256), (256, 256), (64, 256), (256, 64)]
    assert isinstance(network.projector, nn.Sequential)
    final = network.projector[-1]
    assert isinstance(final, nn.BatchNorm1d) and not final.affine


def test_refuses_other_than_two_views(network: SimSiamNetwork) -> None:
    with pytest.raises(ValueError, match="compares exactly 2 views, but got 3"):
        network([torch.randn(8, 6)] * 3)


def test_refused_width() -> None:
    with pytest.raises(ValueError, match=r"hidden_dim must be >= 1, but got hidden_dim=0"):
        SimSiam(hidden_dim=0)
