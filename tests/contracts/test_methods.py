"""What every base method keeps to."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from study import registry
from study.datasets.base import LabelledImages
from study.methods.base import Method, MethodNetwork, Moment
from study.tensors.batch_norm import synchronise
from study.training.representations import project

pytestmark = pytest.mark.parametrize("name", registry.names("methods"))


def _network(name: str, seed: int = 0) -> MethodNetwork:
    torch.manual_seed(seed)
    method: Method = registry.component("methods", name)()
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU())
    return method.build(backbone, representation_dim=12)


def _views(batch: int = 10, num_views: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch, 1, 8, 8, generator=generator) for _ in range(num_views)]


def _train(network: MethodNetwork, views: list[Tensor], num_steps: int, *, calls_hooks: bool = True) -> list[float]:
    """The losses of some steps, with the hooks called as the training loop does."""
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for step in range(num_steps):
        moment = Moment(step, num_steps, steps_per_epoch=10, is_continuation=False)
        if calls_hooks:
            network.before_step(moment)
        loss = network(views).loss
        optimizer.zero_grad()
        loss.backward()
        if calls_hooks:
            network.before_update(moment)
        optimizer.step()
        if calls_hooks:
            network.after_update(moment)
        losses.append(float(loss.detach()))
    return losses


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


def test_the_loss_is_computed_in_single_precision_under_autocast(name: str) -> None:
    """Rows that nearly agree would be equal in half precision."""
    network = _network(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(_views())
    assert output.projections.dtype == torch.bfloat16
    assert output.loss.dtype == torch.float32


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


@pytest.mark.parametrize("calls_hooks", [True, False])
def test_training_lowers_the_loss(name: str, calls_hooks: bool) -> None:
    losses = _train(_network(name), _views(32), 30, calls_hooks=calls_hooks)
    assert losses[-1] < losses[0]


def test_the_loss_is_computed_from_the_projections(name: str) -> None:
    output = _network(name)(_views())
    (pull,) = torch.autograd.grad(output.loss, output.projections)
    assert pull.isfinite().all() and (pull.abs().sum(dim=(1, 2)) > 0).all()


def test_local_views_reach_the_loss_alone(name: str) -> None:
    network, views = _network(name), _views(num_views=4)
    if not registry.component("methods", name).accepts_local_views:
        with pytest.raises(ValueError, match="exactly 2 views, but got 4"):
            network(views)
        return
    with_local, without = network.eval()(views), network(views[:2])
    assert torch.equal(with_local.projections, without.projections)
    assert with_local.loss != without.loss
    network(views[:2] + [view.requires_grad_() for view in views[2:]]).loss.backward()
    assert all(view.grad is not None and view.grad.abs().sum() > 0 for view in views[2:])


def test_double_precision_stays_double(name: str) -> None:
    output = _network(name).double()([view.double() for view in _views()])
    assert output.loss.dtype == output.projections.dtype == torch.float64


def test_batch_normalisation_over_processes_leaves_what_is_trained(name: str) -> None:
    before, after = _network(name), synchronise(_network(name), torch.device("cpu"))
    trained = [{label for label, p in n.named_parameters() if p.requires_grad} for n in (before, after)]
    assert trained[0] == trained[1]


def test_state_survives_a_round_trip(name: str) -> None:
    network = _network(name)
    _train(network, _views(), 3)
    other = _network(name, seed=5)
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(network(_views()).loss, other(_views()).loss)
        assert torch.equal(network.eval()(_views()).loss, other.eval()(_views()).loss)


def test_clean_images_are_projected_one_by_one_and_nothing_changes(name: str) -> None:
    network = _network(name)
    images = torch.randint(0, 256, (501, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    labelled = LabelledImages(images, torch.zeros(len(images), dtype=torch.int64))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    whole = project(network, labelled, torch.device("cpu"))
    few = project(network, LabelledImages(images[:7], labelled.labels[:7]), torch.device("cpu"))
    assert whole.dtype == np.float32 and whole.shape[0] == 501
    assert whole.shape[1] == _network(name)(_views()).projections.shape[2]
    np.testing.assert_allclose(few, whole[:7], atol=1e-5)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
