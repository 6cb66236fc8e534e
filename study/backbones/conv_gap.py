"""A small encoder that averages over the image: convolutions and global average pooling."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from study.backbones._convolutions import downsampling_stages, require_widths
from study.backbones.base import Backbone


@dataclass(frozen=True)
class ConvGAP(Backbone):
    """Three strided convolutions, then the mean over positions (93 thousand parameters by default).

    Attributes:
        widths: channels of the stages; the last one is the width of the representation.

    Raises:
        ValueError: there is no width, or one is not positive.
    """

    widths: tuple[int, ...] = (32, 64, 128)

    def __post_init__(self) -> None:
        require_widths(self.widths)

    @property
    def representation_dim(self) -> int:  # type: ignore[override]  # follows from the widths
        """Width of the encoder's output."""
        return self.widths[-1]

    def build(self, num_channels: int, image_size: int) -> nn.Module:  # noqa: ARG002 - the interface
        """Build the encoder for images of any size."""
        return nn.Sequential(*downsampling_stages(num_channels, self.widths), nn.AdaptiveAvgPool2d(1), nn.Flatten())
