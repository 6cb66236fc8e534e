"""What every base method keeps to."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from study import registry
from study.methods.base import Method, MethodNetwork

pytestmark = pytest.mark.parametrize("name", registry.names("methods"))


def _network(name: str, seed: int = 0) -> MethodNetwork:
    torch.manual_seed(seed)
    method: Method = registry.component("methods", name)()
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU())
    return method.build(backbone, representation_dim=12)


def _views(batch: int = 10) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch, 1, 8, 8, generator=generator) for _ in range(2)]


def test_settings_are_a_frozen_dataclass(name: str) -> None:
    cls = registry.component("methods", name)
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert cls() == cls()


def test_yields_a_scalar_loss_and_projections_with_gradient(name: str) -> None:
    output = _network(name)(_views())
    assert output.loss.shape == () and output.loss.isfinite() and output.loss.requires_grad
    assert output.projections.shape[:2] == (2, 10) and output.projections.ndim == 3
    assert output.projections.requires_grad and output.projections.isfinite().all()


def test_the_loss_pulls_at_the_very_projections_that_criteria_see(name: str) -> None:
    output = _network(name)(_views())
    (pull,) = torch.autograd.grad(output.loss, output.projections)
    assert pull.isfinite().all() and pull.abs().sum() > 0


@pytest.mark.parametrize("which", ["loss", "projections"])
def test_gradient_reaches_the_backbone(name: str, which: str) -> None:
    network = _network(name)
    value: Tensor = getattr(network(_views()), which)
    value.square().square().sum().backward()  # type: ignore[no-untyped-call]
    for label, parameter in network.backbone.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, label


def test_every_trainable_parameter_takes_part_in_the_loss(name: str) -> None:
    network = _network(name)
    network(_views()).loss.backward()
    missing = [label for label, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing


def test_heads_are_a_function_of_the_global_seed(name: str) -> None:
    states = [_network(name, seed).state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])


def test_training_lowers_the_loss(name: str) -> None:
    network, views = _network(name), _views(32)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = network(views).loss
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_state_survives_a_round_trip(name: str) -> None:
    network = _network(name)
    network(_views())
    other = _network(name, seed=5)
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(network.eval()(_views()).loss, other.eval()(_views()).loss)
