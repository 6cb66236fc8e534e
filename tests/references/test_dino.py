"""DINO against algorithm 1 of Caron et al. 2021 in NumPy, and against lightly; https://arxiv.org/abs/2104.14294."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from lightly.loss import DINOLoss
from torch import Tensor, nn

from study.methods.base import Moment
from study.methods.dino import DINO, DINONetwork
from tests.references._numpy_heads import (
    Array,
    Parameters,
    check_gradients,
    cross_entropy,
    linear,
    softmax,
    state_of,
    unit,
)

_STUDENT, _TEACHER = 0.125, 0.0625  # float32 holds both exactly


def _gelu(x: Array) -> Array:
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def _project(x: Array, state: Parameters, owner: str = "") -> Array:
    x = _gelu(linear(x, state, f"{owner}projector.0"))
    x = _gelu(linear(x, state, f"{owner}projector.2"))
    return linear(x, state, f"{owner}projector.4")


def _scores(x: Array, state: Parameters, owner: str = "") -> Array:
    """Cosines of projections and prototypes."""
    return unit(_project(x, state, owner)) @ unit(state[f"{owner}prototypes.weight"]).T


def _reference(views: Sequence[Array], state: Parameters) -> float:
    losses = []
    for v in (0, 1):
        target = softmax((_scores(views[v], state, "teacher.") - state["centre"]) / _TEACHER)
        for w, view in enumerate(views):
            if w != v:
                losses.append(cross_entropy(target, _scores(view, state) / _STUDENT))
    return float(np.mean(losses))


@pytest.fixture
def network() -> DINONetwork:
    """With a centre, and a teacher that is not the student."""
    torch.manual_seed(0)
    method = DINO(
        projection_dim=5, hidden_dim=9, num_prototypes=7, student_temperature=_STUDENT, teacher_temperature=_TEACHER,
        centre_momentum=0.75,
    )  # fmt: skip
    network = method.build(nn.Identity(), representation_dim=6).double()
    for parameter in network.teacher.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=0.3)
    network.centre.copy_(0.1 * torch.randn(7))
    return network


@pytest.fixture
def views() -> list[Tensor]:
    """Two full-size views and two local ones."""
    return list(torch.randn(4, 16, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64))


def _moment(epoch: int, *, is_continuation: bool = False) -> Moment:
    return Moment(10 * epoch, num_steps=100, steps_per_epoch=10, is_continuation=is_continuation)


@pytest.mark.parametrize("num_views", [2, 4])
def test_value_and_gradient(network: DINONetwork, views: list[Tensor], num_views: int) -> None:
    arrays, before = [view.numpy() for view in views[:num_views]], state_of(network)
    output = network(views[:num_views])
    output.loss.backward()
    assert float(output.loss.detach()) == pytest.approx(_reference(arrays, before), rel=1e-12)
    for projections, x in zip(output.projections.detach(), arrays[:2], strict=True):
        np.testing.assert_allclose(projections.numpy(), _project(x, before), rtol=1e-10, atol=1e-12)
    check_gradients(network, lambda state: _reference(arrays, state | {"centre": before["centre"]}))


@pytest.mark.parametrize("num_views", [2, 4])
def test_equals_lightly(network: DINONetwork, views: list[Tensor], num_views: int) -> None:
    """Value, pull and centre. Two differences: lightly's centre begins at 0, and its temperature is float32."""
    theirs = DINOLoss(
        output_dim=7, teacher_temp=_TEACHER, warmup_teacher_temp=_TEACHER, student_temp=_STUDENT, center_momentum=0.75
    ).double()
    theirs.center.copy_(network.centre)
    output = network(views[:num_views])
    z = output.projections.detach().requires_grad_()
    local = [network.projector(view) for view in views[2:num_views]]
    teacher = [network.teacher(view, None) for view in views[:2]]
    loss = theirs(teacher, [network.prototypes(x) for x in (*z, *local)])
    torch.testing.assert_close(output.loss, loss, rtol=1e-12, atol=0)
    torch.testing.assert_close(network.centre, theirs.center[0, 0], rtol=1e-12, atol=1e-14)
    (expected,) = torch.autograd.grad(loss, z)
    (pull,) = torch.autograd.grad(output.loss, output.projections)
    torch.testing.assert_close(pull, expected, rtol=1e-10, atol=1e-14)


class TestCentre:
    def test_begins_at_the_first_batch_and_then_moves(self, network: DINONetwork) -> None:
        network.centre.zero_()
        batches, state = list(torch.randn(4, 2, 16, 6, dtype=torch.float64)), state_of(network)
        means = []
        for batch in batches:
            network(list(batch))
            means.append(np.mean([_scores(x.numpy(), state, "teacher.").mean(axis=0) for x in batch], axis=0))
        expected = 0.75**3 * means[0] + 0.25 * (0.75**2 * means[1] + 0.75 * means[2] + means[3])
        np.testing.assert_allclose(network.centre.numpy(), expected, rtol=1e-10)

    def test_the_first_batch_has_its_own_mean(self, network: DINONetwork, views: list[Tensor]) -> None:
        state, arrays = state_of(network), [view.numpy() for view in views]
        network.centre.zero_()
        loss = float(network(views).loss.detach())
        own = np.mean([_scores(x, state, "teacher.").mean(axis=0) for x in arrays[:2]], axis=0)
        assert loss == pytest.approx(_reference(arrays, state | {"centre": own}), rel=1e-12)

    def test_rests_in_evaluation_mode(self, network: DINONetwork, views: list[Tensor]) -> None:
        before = network.centre.clone()
        network.eval()(views)
        assert torch.equal(network.centre, before)


def test_the_length_of_prototypes_does_not_matter(network: DINONetwork, views: list[Tensor]) -> None:
    network.eval()
    before = network(views).loss
    with torch.no_grad():
        network.prototypes.weight *= torch.linspace(0.1, 10, 7)[:, None]
    torch.testing.assert_close(network(views).loss, before, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("epoch", "is_continuation", "is_frozen"), [(0, False, True), (1, False, False), (0, True, False)]
)
def test_prototypes_stand_still_in_the_first_epoch_of_pre_training(
    network: DINONetwork, views: list[Tensor], epoch: int, is_continuation: bool, is_frozen: bool
) -> None:
    network(views).loss.backward()
    network.before_update(_moment(epoch, is_continuation=is_continuation))
    assert (network.prototypes.weight.grad is None) == is_frozen
    assert all(p.grad is not None for p in network.projector.parameters())


def test_the_teacher_follows_with_projector_and_prototypes(network: DINONetwork) -> None:
    before = state_of(network)
    network.after_update(_moment(0, is_continuation=True))
    after = state_of(network)
    followed = [name for name in before if name.startswith("teacher.")]
    assert len(followed) == 7
    for name in followed:
        student = before[name.removeprefix("teacher.")]
        np.testing.assert_allclose(after[name], 0.996 * before[name] + 0.004 * student, rtol=1e-10)


def test_default_heads_have_the_documented_shape() -> None:
    network = DINO().build(nn.Identity(), representation_dim=128)
    shapes = [tuple(p.shape) for p in network.parameters() if p.ndim == 2 and p.requires_grad]
    assert shapes == [(256, 128), (256, 256), (64, 256), (256, 64)]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_prototypes", 0, "must be >= 1"),
        ("student_temperature", 0.0, "must be finite and > 0"),
        ("teacher_temperature", math.inf, "must be finite and > 0"),
        ("teacher_momentum", -0.1, r"must lie in \[0, 1\]"),
        ("centre_momentum", 1.5, r"must lie in \[0, 1\]"),
        ("freeze_prototypes_epochs", -1, "must be >= 0"),
    ],
)
def test_refused_settings(name: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=f"{name} {message}, but got {name}={value:g}"):
        DINO(**{name: value})
