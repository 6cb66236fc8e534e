"""BYOL against eq. 1-2 of Grill et al. 2020 in NumPy, and against lightly; https://arxiv.org/abs/2006.07733."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from torch import Tensor, nn

from study.methods._teacher import momentum_at
from study.methods.base import Moment
from study.methods.byol import BYOL, BYOLNetwork
from tests.references._numpy_heads import Array, Parameters, check_gradients, perceptron, state_of, unit


def _project(x: Array, state: Parameters, owner: str = "") -> Array:
    return perceptron(x, state, f"{owner}projector")


def _reference(views: tuple[Array, Array], state: Parameters) -> float:
    """Mean of both directions of ‖q̄ - z̄'‖² (eq. 2), as squared differences of unit rows."""
    predictions = [perceptron(_project(x, state), state, "predictor") for x in views]
    targets = [_project(x, state, "teacher.") for x in views]
    distances = [((unit(predictions[v]) - unit(targets[1 - v])) ** 2).sum(axis=1).mean() for v in (0, 1)]
    return float(np.mean(distances))


@pytest.fixture
def network() -> BYOLNetwork:
    """With a teacher that is not the student."""
    torch.manual_seed(0)
    method = BYOL(projection_dim=5, hidden_dim=9, teacher_momentum=0.75)
    network = method.build(nn.Identity(), representation_dim=6).double()
    for parameter in network.teacher.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return network


@pytest.fixture
def views() -> list[Tensor]:
    return list(torch.randn(2, 16, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64))


def _moment(step: int, *, is_continuation: bool) -> Moment:
    return Moment(step, num_steps=8, steps_per_epoch=4, is_continuation=is_continuation)


def test_value_and_gradient(network: BYOLNetwork, views: list[Tensor]) -> None:
    x1, x2 = (view.numpy() for view in views)
    output = network(views)
    output.loss.backward()
    assert float(output.loss.detach()) == pytest.approx(_reference((x1, x2), state_of(network)), rel=1e-12)
    for projections, x in zip(output.projections.detach(), (x1, x2), strict=True):
        np.testing.assert_allclose(projections.numpy(), _project(x, state_of(network)), rtol=1e-10, atol=1e-12)
    check_gradients(network, lambda state: _reference((x1, x2), state))


def test_is_two_plus_the_sum_of_lightlys_negative_cosines(network: BYOLNetwork, views: list[Tensor]) -> None:
    output = network(views)
    z = output.projections.detach().requires_grad_()
    t1, t2 = (network.teacher(view, None) for view in views)
    cosine = NegativeCosineSimilarity()
    loss = 2 + cosine(network.predictor(z[0]), t2) + cosine(network.predictor(z[1]), t1)
    torch.testing.assert_close(output.loss, loss, rtol=1e-12, atol=0)
    (expected,) = torch.autograd.grad(loss, z)
    (pull,) = torch.autograd.grad(output.loss, output.projections)
    torch.testing.assert_close(pull, expected, rtol=1e-10, atol=1e-14)


class TestTeacher:
    def test_begins_as_a_copy(self) -> None:
        network = BYOL().build(nn.Linear(4, 6), representation_dim=6)
        copies = dict(network.teacher.named_parameters())
        assert set(copies) == {n for n, _ in network.named_parameters() if n.startswith(("backbone", "projector"))}
        assert all(torch.equal(value, network.get_parameter(name)) for name, value in copies.items())

    def test_is_the_exponential_moving_average_of_the_weights(self, network: BYOLNetwork) -> None:
        name, m = "projector.0.weight", 0.75
        weight, copy = network.get_parameter(name), network.teacher.get_parameter(name)
        first, seen = copy.clone(), []
        for step in range(5):
            with torch.no_grad():
                weight += torch.randn_like(weight)
            seen.append(weight.detach().clone())
            network.after_update(_moment(step, is_continuation=True))
        expected = m**5 * first + sum((1 - m) * m ** (4 - k) * value for k, value in enumerate(seen))
        torch.testing.assert_close(copy, expected, rtol=1e-12, atol=1e-14)

    def test_momentum_rises_to_one_in_pre_training(self) -> None:
        rising = [momentum_at(_moment(step, is_continuation=False), 0.9) for step in (0, 2, 4, 6, 8)]
        slope = math.sqrt(0.5)
        assert rising == pytest.approx([0.9, 1 - 0.05 * (1 + slope), 0.95, 1 - 0.05 * (1 - slope), 1])

    def test_momentum_is_constant_in_continuations(self) -> None:
        assert {momentum_at(_moment(step, is_continuation=True), 0.9) for step in range(8)} == {0.9}

    def test_running_statistics_are_its_own(self, network: BYOLNetwork, views: list[Tensor]) -> None:
        network(views)
        norm = network.teacher.get_submodule("projector.1")
        assert isinstance(norm, nn.BatchNorm1d) and norm.running_mean is not None
        state, expected = state_of(network.teacher), np.zeros(9)
        for view in views:
            expected = 0.9 * expected + 0.1 * (view.numpy() @ state["projector.0.weight"].T).mean(axis=0)
        np.testing.assert_allclose(norm.running_mean.numpy(), expected, rtol=1e-10)
        network.after_update(_moment(0, is_continuation=True))
        np.testing.assert_allclose(norm.running_mean.numpy(), expected, rtol=1e-10)

    def test_sees_as_many_images_at_a_time_as_the_student(self) -> None:
        torch.manual_seed(0)
        network = BYOL(hidden_dim=9).build(nn.BatchNorm1d(6), representation_dim=6).double()
        network.micro_batch_size = 4
        views = list(torch.randn(2, 12, 6, dtype=torch.float64))
        teacher_statistics = network.teacher.get_buffer("backbone.num_batches_tracked")
        network(views)
        assert teacher_statistics == network.get_buffer("backbone.num_batches_tracked") == 6
        parts = torch.cat([network.teacher.get_submodule("backbone")(part) for part in views[0].split(4)])
        expected = network.teacher.get_submodule("projector")(parts)
        torch.testing.assert_close(network.teacher(views[0], 4), expected)


def test_criteria_reach_the_projector_through_the_projections(network: BYOLNetwork, views: list[Tensor]) -> None:
    network(views).projections.square().square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.projector.parameters())
    assert all(p.grad is None for p in (*network.predictor.parameters(), *network.teacher.parameters()))


def test_default_heads_have_the_documented_shape() -> None:
    network = BYOL().build(nn.Identity(), representation_dim=128)
    shapes = [tuple(p.shape) for p in network.parameters() if p.ndim == 2 and p.requires_grad]
    assert shapes == [(256, 128), (64, 256), (256, 64), (64, 256)]


def test_refused_settings() -> None:
    with pytest.raises(ValueError, match=r"hidden_dim must be >= 1, but got hidden_dim=0"):
        BYOL(hidden_dim=0)
    with pytest.raises(ValueError, match=r"teacher_momentum must lie in \[0, 1\], but got teacher_momentum=1.5"):
        BYOL(teacher_momentum=1.5)
