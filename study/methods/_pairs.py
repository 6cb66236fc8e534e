"""Methods that compare the projections of two views."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from study.methods._heads import each_view
from study.methods.base import Method, MethodNetwork, MethodOutput


def require_two_views(method: str, representations: Sequence[Tensor]) -> None:
    """Raise ValueError unless there are exactly two views."""
    if len(representations) != 2:
        raise ValueError(f"{method} compares exactly 2 views, but got {len(representations)}")


class PairMethod(Method):
    """A method whose network is a projector, and whose loss is a function of the projections alone."""

    @abstractmethod
    def loss(self, projections: Tensor) -> Tensor:
        """Map this process's rows of the projections to a scalar.

        Averaged over processes with equally many rows, it is the loss of the whole batch.

        Args:
            projections: shape (2, batch, dim), float32 or float64; autocast is off.
        """


class PairNetwork(MethodNetwork):
    """Backbone and projector; batch statistics of the projector are those of one view at a time."""

    def __init__(self, backbone: nn.Module, projector: nn.Sequential, method: PairMethod) -> None:
        super().__init__(backbone)
        self.projector = projector
        self._method = method

    def compare(self, representations: Sequence[Tensor], views: Sequence[Tensor]) -> MethodOutput:  # noqa: ARG002
        """Map two views to the method's loss and their projections.

        Raises:
            ValueError: there are not exactly two views.
        """
        require_two_views(type(self._method).__name__, representations)
        projections = each_view(self.projector, representations)
        # Half precision would lose what the loss takes differences and squares of.
        with torch.autocast(projections.device.type, enabled=False):
            loss = self._method.loss(projections.to(torch.promote_types(projections.dtype, torch.float32)))
        return MethodOutput(loss, projections)
