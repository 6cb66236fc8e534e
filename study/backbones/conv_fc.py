"""A small encoder that keeps positions: convolutions and a fully connected layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from study.backbones._convolutions import downsampled_size, downsampling_stages, require_widths
from study.backbones.base import Backbone


@dataclass(frozen=True)
class ConvFC(Backbone):
    """Three strided convolutions, flattened into one normalised layer (355 thousand parameters at 28×28).

    Attributes:
        widths: channels of the stages.
        representation_dim: width of the encoder's output.

    Raises:
        ValueError: there is no width, or a number is not positive.
    """

    widths: tuple[int, ...] = (32, 64, 128)
    representation_dim: int = 128

    accepts_any_size: ClassVar[bool] = False  # the fully connected layer fixes the size

    def __post_init__(self) -> None:
        require_widths(self.widths)
        if self.representation_dim < 1:
            raise ValueError(f"representation_dim must be >= 1, but got representation_dim={self.representation_dim}")

    def build(self, num_channels: int, image_size: int) -> nn.Module:
        """Build the encoder for square images of `image_size` pixels."""
        side = downsampled_size(image_size, len(self.widths))
        return nn.Sequential(
            *downsampling_stages(num_channels, self.widths),
            nn.Flatten(),
            nn.Linear(self.widths[-1] * side**2, self.representation_dim, bias=False),
            nn.BatchNorm1d(self.representation_dim),
            nn.ReLU(inplace=True),
        )
