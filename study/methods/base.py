"""What a base method is: a frozen dataclass of settings that builds a network with a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from study.tensors.batch_norm import running_statistics_kept


@dataclass(frozen=True)
class MethodOutput:
    """What one forward pass of a method yields.

    Attributes:
        loss: the base loss, a scalar.
        projections: shape (views, batch, dim); projector outputs of the full-size views, not normalised: what
            criteria see. The loss is computed from this very tensor, so that its gradient here is the method's pull.
    """

    loss: Tensor
    projections: Tensor


@dataclass(frozen=True)
class Moment:
    """Where in a training a step stands, for what a method schedules itself.

    Attributes:
        step: updates so far.
        num_steps: updates of the whole training.
        steps_per_epoch: updates of an epoch.
        is_continuation: the network was trained before.
    """

    step: int
    num_steps: int
    steps_per_epoch: int
    is_continuation: bool

    @property
    def epoch(self) -> int:
        """Epochs that are complete."""
        return self.step // self.steps_per_epoch

    @property
    def share(self) -> float:
        """How much of the training is over, from 0 to below 1."""
        return self.step / self.num_steps


class MethodNetwork(nn.Module, ABC):
    """A backbone with a method's heads.

    Attributes:
        backbone: maps images (batch, channels, height, width) to representations (batch, representation_dim).
        own_rates: submodule → learning rate that no schedule and no search changes.
        micro_batch_size: the backbone sees at most so many images at a time, to save memory; None: whole views.
            Heads, loss and criterion see the whole batch all the same; the backbone's batch normalisation does not.
    """

    backbone: nn.Module
    own_rates: Mapping[str, float]

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.own_rates = {}
        self.micro_batch_size: int | None = None

    def forward(self, views: Sequence[Tensor]) -> MethodOutput:
        """Map views, each (batch, channels, height, width), to the base loss and the projections.

        The first two views are full-size ones; methods that accept local views get those after them.
        """
        return self.compare([self._represent(view) for view in views], views)

    @abstractmethod
    def compare(self, representations: Sequence[Tensor], views: Sequence[Tensor]) -> MethodOutput:
        """Map the representations of all views, each (batch, representation_dim), to loss and projections.

        Args:
            representations: with gradient, one per view.
            views: the images, for a teacher that looks at them itself.
        """

    def before_step(self, moment: Moment) -> None:
        """Prepare a step: schedules, constraints on weights."""

    def before_update(self, moment: Moment) -> None:
        """Gradients are there, the optimiser has not used them yet."""

    def after_update(self, moment: Moment) -> None:
        """The weights have just changed: a teacher follows."""

    def _represent(self, view: Tensor) -> Tensor:
        """The backbone's output; in parts, whose activations are recomputed in the backward pass."""
        size = self.micro_batch_size
        if size is None or len(view) <= size:
            representations: Tensor = self.backbone(view)
            return representations
        parts = [
            checkpoint(self.backbone, part, use_reentrant=False, context_fn=self._once)
            for part in torch.split(view, size)
        ]
        return torch.cat(parts)

    def _once(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Contexts of the first and of the repeated pass: running statistics move in the first alone."""
        return nullcontext(), running_statistics_kept(self.backbone)


class Method(ABC):
    """Base of all methods; subclasses are frozen dataclasses whose fields are their configuration.

    Attributes:
        accepts_local_views: whether there may be small views after the two full-size ones.
    """

    accepts_local_views: ClassVar[bool] = False

    @abstractmethod
    def build(self, backbone: nn.Module, representation_dim: int) -> MethodNetwork:
        """Put this method's freshly initialised heads on `backbone` (global torch generator)."""
