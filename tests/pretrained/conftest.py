"""One ResNet-50 with weights of its own for all tests of a session."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.fakes import published_checkpoints as published


@pytest.fixture(scope="session")
def resnet50() -> nn.Module:
    """torchvision's ResNet-50 without its classifier; tests must leave it as it is."""
    torch.manual_seed(0)
    return published.resnet("resnet50")


@pytest.fixture(scope="session")
def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def features(resnet50: nn.Module, images: Tensor) -> Tensor:
    """What torchvision's network makes of the images, shape (2, 2048)."""
    with torch.no_grad():
        return resnet50.eval()(images)


@pytest.fixture(scope="session")
def swav_file(resnet50: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SwAV's file with the original's shapes."""
    torch.manual_seed(1)
    model = published.SwAVModel(resnet50)
    published.scrambled(model.projection_head, 1)
    return published.save_swav(tmp_path_factory.mktemp("swav") / "swav_800ep_pretrain.pth.tar", model)
