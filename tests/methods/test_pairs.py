"""What the methods share whose loss is a function of two views' projections alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from study import registry
from study.methods._pairs import PairMethod, PairNetwork

_PAIR_METHODS = [n for n in registry.names("methods") if issubclass(registry.component("methods", n), PairMethod)]

pytestmark = pytest.mark.parametrize("name", _PAIR_METHODS)


def _method(name: str) -> PairMethod:
    method: PairMethod = registry.component("methods", name)()
    return method


def _network(name: str) -> PairNetwork:
    torch.manual_seed(0)
    network = _method(name).build(nn.Identity(), representation_dim=6)
    assert isinstance(network, PairNetwork)
    return network


def test_the_loss_of_half_precision_projections_is_computed_in_single(name: str) -> None:
    network, views = _network(name), list(torch.randn(2, 16, 6))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(views)
    assert output.projections.dtype == torch.bfloat16
    assert output.loss.dtype == torch.float32
    assert torch.equal(output.loss, _method(name).loss(output.projections.float()))


@pytest.mark.parametrize("num_views", [1, 3])
def test_refuses_other_than_two_views(name: str, num_views: int) -> None:
    message = f"^{type(_method(name)).__name__} compares exactly 2 views, but got {num_views}$"
    with pytest.raises(ValueError, match=message):
        _network(name)([torch.randn(8, 6)] * num_views)
