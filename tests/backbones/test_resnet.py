"""The ResNets are torchvision's, but for the classifier and, where asked for, the stem."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torchvision import models

from study import registry
from study.backbones._resnet import ResNet

pytestmark = pytest.mark.parametrize("name", ["resnet18", "resnet50"])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Convolutions of a few pixels gain nothing from threads, and lose much where these compete for busy cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _backbone(name: str, **settings: object) -> ResNet:
    backbone: ResNet = registry.component("backbones", name)(**settings)
    return backbone


@pytest.mark.parametrize("zero_init_residual", [True, False])
def test_weights_and_their_names_are_torchvisions(name: str, zero_init_residual: bool) -> None:
    torch.manual_seed(0)
    ours = _backbone(name, zero_init_residual=zero_init_residual).build(3, 32).state_dict()
    torch.manual_seed(0)
    theirs = models.get_model(name, zero_init_residual=zero_init_residual).state_dict()
    assert set(theirs) - set(ours) == {"fc.weight", "fc.bias"}
    assert list(ours) == [key for key in theirs if not key.startswith("fc.")]
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_representations_are_what_torchvisions_classifier_sees(name: str) -> None:
    theirs, images = models.get_model(name), torch.randn(4, 3, 33, 33)
    ours = _backbone(name).build(3, 33)
    missing = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert missing.missing_keys == [] and missing.unexpected_keys == ["fc.weight", "fc.bias"]
    for train in (True, False):
        with torch.no_grad():
            torch.testing.assert_close(theirs.fc(ours.train(train)(images)), theirs.train(train)(images))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("stem", "side"), [("small", 32), ("imagenet", 8)])
def test_only_the_small_stem_keeps_the_resolution(name: str, stem: str, side: int, channels: int) -> None:
    encoder = _backbone(name, stem=stem).build(channels, 32)
    first_layers = nn.Sequential(*(encoder.get_submodule(layer) for layer in ("conv1", "bn1", "relu", "maxpool")))
    assert first_layers(torch.randn(2, channels, 32, 32)).shape == (2, 64, side, side)


@pytest.mark.parametrize(("stem", "size"), [("small", 3), ("imagenet", 7)])
def test_a_stem_of_its_own_is_initialised_like_torchvisions(name: str, stem: str, size: int) -> None:
    """Normal with variance 2 / (64 · size²), whatever the number of channels."""
    torch.manual_seed(0)
    weight = _backbone(name, stem=stem).build(5, 32).get_submodule("conv1").get_parameter("weight")
    assert weight.shape == (64, 5, size, size)
    assert float(weight.std().detach()) == pytest.approx((2 / (64 * size**2)) ** 0.5, rel=0.05)


def test_refused_stem(name: str) -> None:
    with pytest.raises(ValueError, match="stem must be one of imagenet, small, but got stem='cifar'"):
        _backbone(name, stem="cifar")
