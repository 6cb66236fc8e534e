"""SwAV against eq. 1-6 of Caron et al. 2020 in NumPy, and against lightly; https://arxiv.org/abs/2006.09882."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from lightly.loss import SwaVLoss
from torch import Tensor, nn
from torch.nn import functional

from study.methods.base import Moment
from study.methods.swav import SwAV, SwAVNetwork
from tests.references._numpy_heads import Array, Parameters, check_gradients, cross_entropy, perceptron, state_of, unit

_SETTINGS = SwAV(projection_dim=5, hidden_dim=9, num_prototypes=7)
_BATCH = 16


def _scores(x: Array, state: Parameters) -> Array:
    return unit(perceptron(x, state, "projector")) @ state["prototypes.weight"].T


def _codes(scores: Array) -> Array:
    """Eq. 3-5: scale Q, here N×K, to rows of sum 1/N and columns of sum 1/K, three times; then rows of sum 1."""
    num_rows, num_columns = scores.shape
    codes = np.exp(scores / 0.05)
    codes /= codes.sum()
    for _ in range(3):
        codes /= codes.sum(axis=0) * num_columns
        codes /= codes.sum(axis=1, keepdims=True) * num_rows
    return codes * num_rows


def _reference(views: Sequence[Array], state: Parameters, constant: Parameters) -> float:
    """Codes are constants: those of the state `constant`, whose queue is used when its last row is filled."""
    losses = []
    for v in (0, 1):
        queue = constant["queue"][v] if constant["queue"][v, -1:].any() else np.zeros((0, 5))
        queued = queue @ constant["prototypes.weight"].T
        codes = _codes(np.concatenate([queued, _scores(views[v], constant)]))[len(queue) :]
        others = [w for w in range(len(views)) if w != v]
        losses.append(np.mean([cross_entropy(codes, _scores(views[w], state) / 0.1) for w in others]))
    return float(np.mean(losses))


def _build(settings: SwAV) -> SwAVNetwork:
    torch.manual_seed(0)
    network = settings.build(nn.Identity(), representation_dim=6).double()
    network.before_step(_moment(0))
    return network


def _moment(epoch: int, *, is_continuation: bool = False) -> Moment:
    return Moment(10 * epoch, num_steps=100, steps_per_epoch=10, is_continuation=is_continuation)


def _batch(seed: int, num_views: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randn(num_views, _BATCH, 6, generator=generator, dtype=torch.float64))


def _full_queue(network: SwAVNetwork) -> None:
    """Fill the queue with unlike rows."""
    rows = torch.randn(network.queue.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    network.queue.copy_(functional.normalize(rows, dim=-1))


@pytest.mark.parametrize("queue_size", [0, 21])
@pytest.mark.parametrize("num_views", [2, 4])
def test_value_and_gradient(num_views: int, queue_size: int) -> None:
    network, views = _build(replace(_SETTINGS, queue_size=queue_size)), _batch(1, num_views)
    _full_queue(network)
    before, arrays = state_of(network), [view.numpy() for view in views]
    output = network(views)
    output.loss.backward()
    assert float(output.loss.detach()) == pytest.approx(_reference(arrays, before, before), rel=1e-12)
    for projections, x in zip(output.projections.detach(), arrays[:2], strict=True):
        expected = perceptron(x, before, "projector")
        np.testing.assert_allclose(projections.numpy(), expected, rtol=1e-10, atol=1e-12)
    check_gradients(network, lambda state: _reference(arrays, state, before))


@pytest.mark.parametrize("queue_size", [0, 21])
@pytest.mark.parametrize("num_views", [2, 4])
def test_equals_lightly(num_views: int, queue_size: int) -> None:
    """Value and pull; theirs has shape (1,), takes scores, and overflows where a score exceeds 35 (float32: 4.4)."""
    network, views = _build(replace(_SETTINGS, queue_size=queue_size)), _batch(1, num_views)
    _full_queue(network)
    queued = [network.prototypes(rows) for rows in network.queue.clone()] if queue_size else None
    output = network(views)
    z = output.projections.detach().requires_grad_()
    scores = [network.prototypes(functional.normalize(x, dim=-1)) for x in (*z, *map(network.projector, views[2:]))]
    loss = SwaVLoss()(scores[:2], scores[2:], queued)
    torch.testing.assert_close(output.loss[None], loss, rtol=1e-12, atol=0)
    (expected,) = torch.autograd.grad(loss, z)
    (pull,) = torch.autograd.grad(output.loss, output.projections)
    torch.testing.assert_close(pull, expected, rtol=1e-10, atol=1e-14)


class TestQueue:
    def test_begins_empty_and_is_used_once_it_is_full(self) -> None:
        network = _build(replace(_SETTINGS, queue_size=2 * _BATCH))
        assert not network.queue.any()
        plain = _build(_SETTINGS)
        used = [network(_batch(seed)).loss != plain(_batch(seed)).loss for seed in range(4)]
        assert used == [False, False, True, True]

    @pytest.mark.parametrize("queue_size", [10, 21, 40])
    def test_holds_the_newest_embeddings_first(self, queue_size: int) -> None:
        network = _build(replace(_SETTINGS, queue_size=queue_size))
        seen: list[Tensor] = []
        for seed in range(4):
            seen.insert(0, functional.normalize(network(_batch(seed)).projections.detach(), dim=-1))
            expected = torch.cat(seen, dim=1)[:, :queue_size]
            torch.testing.assert_close(network.queue[:, : expected.shape[1]], expected, rtol=1e-12, atol=1e-14)
            assert not network.queue[:, expected.shape[1] :].any()

    def test_rests_in_evaluation_mode(self) -> None:
        network = _build(replace(_SETTINGS, queue_size=10))
        network.eval()(_batch(0))
        assert not network.queue.any()

    def test_survives_a_checkpoint(self) -> None:
        settings = replace(_SETTINGS, queue_size=21)
        network, other = _build(settings), _build(settings)
        for seed in range(3):
            network(_batch(seed))
        other.load_state_dict(network.state_dict())
        assert torch.equal(network(_batch(3)).loss, other(_batch(3)).loss)
        assert torch.equal(network.queue, other.queue)

    @pytest.mark.parametrize(
        ("epoch", "is_continuation", "is_filled"),
        [(0, False, False), (1, False, False), (2, False, True), (0, True, True)],
    )
    def test_waits_in_pre_training_alone(self, epoch: int, is_continuation: bool, is_filled: bool) -> None:
        network = _build(replace(_SETTINGS, queue_size=10, queue_from_epoch=2))
        network.before_step(_moment(epoch, is_continuation=is_continuation))
        network(_batch(0))
        assert bool(network.queue.any()) == is_filled


class TestPrototypes:
    def test_lie_on_the_unit_sphere_at_every_step(self) -> None:
        network = _build(_SETTINGS)
        with torch.no_grad():
            network.prototypes.weight *= 3
        network.before_step(_moment(5))
        torch.testing.assert_close(network.prototypes.weight.norm(dim=1), torch.ones(7, dtype=torch.float64))

    @pytest.mark.parametrize(
        ("epoch", "is_continuation", "is_frozen"), [(0, False, True), (1, False, False), (0, True, False)]
    )
    def test_stand_still_in_the_first_epoch_of_pre_training(
        self, epoch: int, is_continuation: bool, is_frozen: bool
    ) -> None:
        network = _build(_SETTINGS)
        network(_batch(0)).loss.backward()
        network.before_update(_moment(epoch, is_continuation=is_continuation))
        assert (network.prototypes.weight.grad is None) == is_frozen
        assert all(p.grad is not None for p in network.projector.parameters())


def test_criteria_reach_the_projector_through_the_projections() -> None:
    network = _build(_SETTINGS)
    network(_batch(0)).projections.square().square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.projector.parameters())
    assert network.prototypes.weight.grad is None


def test_default_heads_have_the_documented_shape() -> None:
    network = SwAV().build(nn.Identity(), representation_dim=128)
    shapes = [tuple(p.shape) for p in network.parameters() if p.ndim == 2]
    assert shapes == [(256, 128), (64, 256), (64, 64)]
    assert network.queue.shape == (2, 0, 64)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_prototypes", 0, "must be >= 1"),
        ("temperature", 0.0, "must be finite and > 0"),
        ("epsilon", -0.05, "must be finite and > 0"),
        ("sinkhorn_iterations", 0, "must be >= 1"),
        ("queue_size", -1, "must be >= 0"),
        ("queue_from_epoch", -1, "must be >= 0"),
        ("freeze_prototypes_epochs", -1, "must be >= 0"),
    ],
)
def test_refused_settings(name: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=f"{name} {message}, but got {name}={value:g}"):
        SwAV(**{name: value})
