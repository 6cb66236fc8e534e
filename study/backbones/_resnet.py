"""What the ResNets share: torchvision's networks without their classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from torch import nn

from study.backbones.base import Backbone

Stem = Literal["imagenet", "small"]


@dataclass(frozen=True)
class ResNet(Backbone):
    """Settings that all depths have.

    The names of all weights are torchvision's, without `fc`; initialisation is torchvision's, too.

    Source: He, Zhang, Ren & Sun, "Deep Residual Learning for Image Recognition", CVPR 2016,
    https://arxiv.org/abs/1512.03385, table 1. The small stem is that of SimCLR for CIFAR-10 (Chen et al. 2020,
    appendix B.9, https://arxiv.org/abs/2002.05709).

    Attributes:
        stem: `imagenet`: a 7×7 convolution with stride 2 and max pooling, which make the image 4 times smaller;
            `small`: a 3×3 convolution with stride 1 and no pooling, for images of about 32 pixels.
        zero_init_residual: every residual block starts as the identity (Goyal et al. 2017, §5.1,
            https://arxiv.org/abs/1706.02677), as VICReg and Barlow Twins have it.

    Raises:
        ValueError: there is no such stem.
    """

    stem: Stem = "imagenet"
    zero_init_residual: bool = True

    architecture: ClassVar[str]

    def __post_init__(self) -> None:
        if self.stem not in get_args(Stem):
            raise ValueError(f"stem must be one of {', '.join(get_args(Stem))}, but got stem={self.stem!r}")

    def build(self, num_channels: int, image_size: int) -> nn.Module:  # noqa: ARG002 - the interface
        """Build the encoder for images of any size."""
        from torchvision import models  # late: sweep files are loaded without torchvision

        network: nn.Module = models.get_model(
            self.architecture, weights=None, zero_init_residual=self.zero_init_residual
        )
        network.fc = nn.Identity()
        if self.stem == "small":
            network.conv1 = _first_convolution(num_channels, kernel_size=3, stride=1)
            network.maxpool = nn.Identity()
        elif num_channels != 3:
            network.conv1 = _first_convolution(num_channels, kernel_size=7, stride=2)
        return network


def _first_convolution(num_channels: int, kernel_size: int, stride: int) -> nn.Conv2d:
    """A convolution to 64 channels, initialised like all others of these networks."""
    layer = nn.Conv2d(num_channels, 64, kernel_size, stride, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer
