"""ResNet-50, torchvision's."""

from __future__ import annotations

from dataclasses import dataclass

from study.backbones._resnet import ResNet


@dataclass(frozen=True)
class ResNet50(ResNet):
    """ResNet-50 (24 million parameters); the settings are those of `ResNet`.

    Unlike in the source, it is the 3×3 convolution of a bottleneck that has the stride ("v1.5").
    """

    architecture = "resnet50"
    representation_dim = 2048
