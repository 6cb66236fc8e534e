"""A strength puts every criterion on one scale, for a small network with a real loss, in double precision."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study import registry
from study.criteria.base import Criterion, CriterionResult, Views
from study.errors import DivergedError
from study.methods.base import MethodOutput
from study.training.add_on import AddOn, norm_over_ranks
from study.training.loop import backpropagate

CRITERIA = [name for name in registry.names("criteria") if name != "none"]
every_criterion = pytest.mark.parametrize("name", CRITERIA)


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    """Directions of SIGReg depend on it, whatever other tests do."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def network() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 6)).double()


def batch(network: nn.Module, number: int = 0, weight: float = 1.0) -> MethodOutput:
    """Two views of 40 images; the loss pulls them together and is a function of the projections."""
    generator = torch.Generator().manual_seed(number)
    images = torch.randn(40, 5, generator=generator, dtype=torch.float64)
    noise = 0.3 * torch.randn(2, 40, 5, generator=generator, dtype=torch.float64)
    projections = network(images + noise)
    return MethodOutput(-weight * functional.cosine_similarity(*projections, dim=-1).mean(), projections)


def make(name: str, factor: float = 1.0) -> Criterion:
    """The criterion with all its weights times `factor`."""
    cls = registry.component("criteria", name)
    weights = {f.name: factor * f.default for f in dataclasses.fields(cls) if f.name.endswith("weight")}
    made: Criterion = cls(**weights)
    return made


def own(criterion: Criterion, output: MethodOutput) -> tuple[CriterionResult, Tensor]:
    """What a criterion says without a scale, and its gradient."""
    z = output.projections.detach().requires_grad_()
    result = criterion(Views(z))
    (gradient,) = torch.autograd.grad(result.total, z)
    return result, gradient


def norm_of_base(output: MethodOutput) -> float:
    (gradient,) = torch.autograd.grad(output.loss, output.projections, retain_graph=True)
    return float(gradient.norm())


def gradient_of(pull_gradient: Tensor | None) -> Tensor:
    assert pull_gradient is not None
    return pull_gradient


@every_criterion
@pytest.mark.parametrize("strength", [1e-3, 0.5, 20.0])
def test_the_norms_have_the_ratio_that_was_asked_for(name: str, strength: float, network: nn.Module) -> None:
    output = batch(network)
    pull = AddOn(make(name), strength).pull(output)
    assert float(gradient_of(pull.gradient).norm()) == pytest.approx(strength * norm_of_base(output), rel=1e-6)


@every_criterion
def test_the_scale_is_that_of_the_first_batch(name: str, network: nn.Module) -> None:
    add_on = AddOn(make(name), 0.5)
    assert add_on.scale is None
    add_on.pull(batch(network))
    scale = add_on.scale
    assert scale is not None and 0 < scale < math.inf
    for number in (1, 2):
        output = batch(network, number, weight=100.0)
        pull = add_on.pull(output)
        assert add_on.scale == scale
        assert float(gradient_of(pull.gradient).norm()) < 0.1 * norm_of_base(output)  # 100 × as strong a base


@every_criterion
@pytest.mark.parametrize("strength", [None, 0.5])
def test_a_pull_is_the_scale_times_the_criterion(name: str, strength: float | None, network: nn.Module) -> None:
    criterion, add_on = make(name), AddOn(make(name), strength)
    for number in (0, 1):
        output = batch(network, number)
        pull, (result, gradient) = add_on.pull(output), own(criterion, output)
        assert add_on.scale is not None
        assert float(pull.total) == pytest.approx(add_on.scale * float(result.total.detach()), rel=1e-12)
        torch.testing.assert_close(gradient_of(pull.gradient), add_on.scale * gradient, rtol=1e-12, atol=0)
        assert pull.terms == result.terms
        assert not pull.total.requires_grad and not gradient_of(pull.gradient).requires_grad


@every_criterion
def test_without_a_strength_the_scale_is_one(name: str, network: nn.Module) -> None:
    add_on = AddOn(make(name))
    assert add_on.scale == 1
    add_on.pull(batch(network))
    assert add_on.scale == 1


@every_criterion
@pytest.mark.parametrize("factor", [1e-4, 3.0, 1e5])
def test_weights_count_for_nothing_but_their_proportion(name: str, factor: float, network: nn.Module) -> None:
    plain, scaled = AddOn(make(name), 0.5), AddOn(make(name, factor), 0.5)
    for number in (0, 1):
        output = batch(network, number)
        expected, found = plain.pull(output), scaled.pull(output)
        torch.testing.assert_close(found.total, expected.total, rtol=1e-10, atol=1e-14)
        torch.testing.assert_close(gradient_of(found.gradient), gradient_of(expected.gradient), rtol=1e-9, atol=1e-14)
    assert plain.scale == pytest.approx(factor * (scaled.scale or 0.0), rel=1e-10)


@every_criterion
def test_parameters_get_the_gradient_of_the_sum(name: str, network: nn.Module) -> None:
    output, add_on = batch(network), AddOn(make(name), 0.5)
    base = torch.autograd.grad(output.loss, output.projections, retain_graph=True)[0]
    torch.testing.assert_close(backpropagate(output, add_on.pull(output)), base, rtol=1e-9, atol=1e-12)
    found = [parameter.grad for parameter in network.parameters()]
    output = batch(network)
    assert add_on.scale is not None
    total = output.loss + add_on.scale * make(name)(Views(output.projections)).total
    for gradient, expected in zip(found, torch.autograd.grad(total, list(network.parameters())), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


def test_a_stored_scale_is_used_again(network: nn.Module) -> None:
    """As after a checkpoint: the first batch that is seen then is not the first of the training."""
    first, resumed = AddOn(make("e2mc"), 0.5), AddOn(make("e2mc"), 0.5)
    first.pull(batch(network))
    resumed.scale = first.scale
    output = batch(network, 1)
    assert torch.equal(gradient_of(first.pull(output).gradient), gradient_of(resumed.pull(output).gradient))


def test_none_has_no_gradient(network: nn.Module) -> None:
    add_on, output = AddOn(make("none")), batch(network)
    pull = add_on.pull(output)
    assert pull.gradient is None and float(pull.total) == 0 and pull.terms == {}
    expected = torch.autograd.grad(output.loss, output.projections, retain_graph=True)[0]
    assert torch.equal(backpropagate(output, pull), expected)


class TestNoScale:
    """When one of the gradients is zero or not finite."""

    def refused(self, criterion: Criterion, output: MethodOutput, *norms: str) -> None:
        base, of_criterion = norms
        message = (
            rf"^no scale gives {type(criterion).__name__} the strength 0\.5 on the first batch: the norms of the "
            rf"gradients at the projections are {base} \(base loss\) and {of_criterion} \(criterion\)$"
        )
        add_on = AddOn(criterion, 0.5)
        with pytest.raises(DivergedError, match=message):
            add_on.pull(output)
        assert add_on.scale is None

    @every_criterion
    def test_criterion_without_weight(self, name: str, network: nn.Module) -> None:
        self.refused(make(name, 0.0), batch(network), r"0\.\d+", "0")

    def test_no_criterion(self, network: nn.Module) -> None:
        self.refused(make("none"), batch(network), r"0\.\d+", "0")

    def test_criterion_that_rests(self, network: nn.Module) -> None:
        """Equal rows attract and repel nothing: all distances between them are zero."""
        output = batch(network)
        equal = output.projections[:, :1].expand(-1, 40, -1).contiguous()
        loss = -functional.cosine_similarity(*equal, dim=-1).mean()
        self.refused(make("koleo"), MethodOutput(loss, equal), r"0\.\d+", "0")

    def test_base_loss_that_rests(self, network: nn.Module) -> None:
        self.refused(make("e2mc"), batch(network, weight=0.0), "0", r"\d+\.\d+")

    def test_neither_pulls(self, network: nn.Module) -> None:
        self.refused(make("e2mc", 0.0), batch(network, weight=0.0), "0", "0")

    def test_base_loss_that_diverged(self, network: nn.Module) -> None:
        self.refused(make("e2mc"), batch(network, weight=math.inf), "(nan|inf)", r"\d+\.\d+")

    def test_without_a_strength_nothing_is_refused(self, network: nn.Module) -> None:
        assert AddOn(make("e2mc", 0.0)).pull(batch(network, weight=0.0)).gradient is None


def test_norm() -> None:
    """Of all elements, in double precision."""
    x = torch.full((300, 7), 1e-25)
    norm = norm_over_ranks(x)
    assert norm.dtype == torch.float64
    assert float(norm) == pytest.approx(1e-25 * math.sqrt(2100), rel=1e-6)
