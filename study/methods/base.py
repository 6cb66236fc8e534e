"""What a base method is: a frozen dataclass of settings that builds a network with a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class MethodOutput:
    """What one forward pass of a method yields.

    Attributes:
        loss: the base loss, a scalar.
        projections: shape (views, batch, dim); projector outputs, not normalised, with gradient: what criteria see.
    """

    loss: Tensor
    projections: Tensor


class MethodNetwork(nn.Module, ABC):
    """A backbone with a method's heads.

    Attributes:
        backbone: maps images (batch, channels, height, width) to representations (batch, representation_dim).
    """

    backbone: nn.Module

    @abstractmethod
    def forward(self, views: Sequence[Tensor]) -> MethodOutput:
        """Map views, each (batch, channels, height, width), to the base loss and the projections."""


class Method(ABC):
    """Base of all methods; subclasses are frozen dataclasses whose fields are their configuration."""

    @abstractmethod
    def build(self, backbone: nn.Module, representation_dim: int) -> MethodNetwork:
        """Put this method's freshly initialised heads on `backbone` (global torch generator)."""
