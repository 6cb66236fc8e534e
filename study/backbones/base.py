"""What a backbone is: a frozen dataclass of settings that builds an image encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn


class Backbone(ABC):
    """Base of all backbones; subclasses are frozen dataclasses whose fields are their configuration.

    Attributes:
        representation_dim: width of the encoder's output.
        accepts_any_size: whether the encoder also takes images smaller than those it was built for.
    """

    representation_dim: int
    accepts_any_size: ClassVar[bool] = True

    @abstractmethod
    def build(self, num_channels: int, image_size: int) -> nn.Module:
        """Build a freshly initialised encoder.

        It maps (batch, num_channels, image_size, image_size) to (batch, representation_dim). Initial weights come from
        torch's global generator, which the caller seeds.
        """
