"""What every backbone keeps to."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch

from study import registry
from study.backbones.base import Backbone

pytestmark = pytest.mark.parametrize("name", registry.names("backbones"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Convolutions of a few pixels gain nothing from threads, and lose much where these compete for busy cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _backbone(name: str) -> Backbone:
    backbone: Backbone = registry.component("backbones", name)()
    return backbone


def test_settings_are_a_frozen_dataclass(name: str) -> None:
    cls = registry.component("backbones", name)
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert cls() == cls()


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32), (3, 33)])
def test_maps_images_to_representations(name: str, channels: int, size: int) -> None:
    backbone = _backbone(name)
    encoder = backbone.build(channels, size)
    representations = encoder(torch.randn(4, channels, size, size))
    assert representations.shape == (4, backbone.representation_dim)
    assert representations.isfinite().all()
    representations.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_initial_weights_are_a_function_of_the_global_seed(name: str) -> None:
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(_backbone(name).build(1, 28).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])


def test_evaluation_does_not_depend_on_the_rest_of_the_batch(name: str) -> None:
    torch.manual_seed(0)
    encoder, images = _backbone(name).build(1, 28), torch.randn(6, 1, 28, 28)
    encoder(images)
    encoder.eval()
    with torch.no_grad():
        torch.testing.assert_close(encoder(images)[:2], encoder(images[:2]), rtol=1e-5, atol=1e-6)
