"""ResNet-18, torchvision's."""

from __future__ import annotations

from dataclasses import dataclass

from study.backbones._resnet import ResNet


@dataclass(frozen=True)
class ResNet18(ResNet):
    """ResNet-18 (11 million parameters); the settings are those of `ResNet`."""

    architecture = "resnet18"
    representation_dim = 512
