"""SwAV: each view predicts the balanced soft cluster to which the other views are assigned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.methods._heads import each_view, perceptron
from study.methods._settings import require_at_least, require_positive
from study.methods._swapped import swapped_cross_entropy
from study.methods.base import Method, MethodNetwork, MethodOutput, Moment
from study.tensors.gather import gather_rows, own_rows
from study.tensors.sinkhorn import sinkhorn


@dataclass(frozen=True)
class SwAV(Method):
    """Settings of the heads and of the assignments.

    Source: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", NeurIPS 2020,
    https://arxiv.org/abs/2006.09882, eq. 1-6 and appendix A. The widths and the number of prototypes are our choice
    for small encoders (128, 2048 and 3000 there), and so is having no queue (there one for small batches alone: 3840
    rows for batches of 256).

    Attributes:
        projection_dim: width of the projections.
        hidden_dim: width of the projector's hidden layer.
        num_prototypes: number of soft clusters.
        temperature: divides the scores, which lie in [-1, 1], of the view that predicts; > 0.
        epsilon: the smaller, the harder the assignments; > 0.
        sinkhorn_iterations: the more, the more equal the clusters.
        queue_size: how many rows of earlier batches, of all processes, are assigned together with those of the batch;
            0: none. Each full-size view has a queue; it is used once it is full.
        queue_from_epoch: epochs of pre-training before the queue begins to fill; a continuation has it from its first
            step on, with what the base has left in it.
        freeze_prototypes_epochs: the prototypes stand still for so many epochs at the beginning of pre-training (1
            there); never in continuations.

    Raises:
        ValueError: a number is out of range.
    """

    accepts_local_views: ClassVar[bool] = True

    projection_dim: int = 64
    hidden_dim: int = 256
    num_prototypes: int = 64
    temperature: float = 0.1
    epsilon: float = 0.05
    sinkhorn_iterations: int = 3
    queue_size: int = 0
    queue_from_epoch: int = 0
    freeze_prototypes_epochs: int = 1

    def __post_init__(self) -> None:
        require_at_least(self, 1, "projection_dim", "hidden_dim", "num_prototypes")
        require_positive(self, "temperature", "epsilon")
        require_at_least(self, 1, "sinkhorn_iterations")
        require_at_least(self, 0, "queue_size", "queue_from_epoch", "freeze_prototypes_epochs")
        if self.queue_from_epoch and not self.queue_size:
            raise ValueError(f"queue_from_epoch={self.queue_from_epoch} needs a queue_size above 0")

    def build(self, backbone: nn.Module, representation_dim: int) -> SwAVNetwork:
        """Put projector and prototypes on `backbone`."""
        projector = perceptron((representation_dim, self.hidden_dim, self.projection_dim))
        return SwAVNetwork(backbone, projector, nn.Linear(self.projection_dim, self.num_prototypes, bias=False), self)


class SwAVNetwork(MethodNetwork):
    """Backbone, projector, prototypes and the queue.

    Batch statistics are those of one view at a time, as in the backbone; the authors' projector sees all views of an
    image in one batch.

    Attributes:
        queue: embeddings of earlier batches, newest first, shape (2, queue_size, projection_dim), equal on all
            processes; rows that no batch has filled yet are 0.
    """

    queue: Tensor

    def __init__(self, backbone: nn.Module, projector: nn.Sequential, prototypes: nn.Linear, settings: SwAV) -> None:
        super().__init__(backbone)
        self.projector = projector
        self.prototypes = prototypes
        self.register_buffer("queue", torch.zeros(2, settings.queue_size, prototypes.in_features))
        self._has_queue_begun = settings.queue_from_epoch == 0
        self._settings = settings

    def compare(self, representations: Sequence[Tensor], views: Sequence[Tensor]) -> MethodOutput:  # noqa: ARG002
        """Map two full-size views and any number of local ones to the loss and the projections of the former.

        The loss is the cross-entropy between the assignments of a full-size view and what another view predicts,
        averaged over all such pairs. In training mode the embeddings join the queue afterwards.
        """
        all_projections = each_view(self.projector, representations)
        projections, local = all_projections[:2], all_projections[2:]
        # In full precision, because ε and the temperature multiply the rounding error of a score.
        with torch.autocast(projections.device.type, enabled=False):
            dtype = self.prototypes.weight.dtype
            embeddings = [functional.normalize(z.to(dtype), dim=-1) for z in (*projections, *local)]
            logits = [self.prototypes(e) / self._settings.temperature for e in embeddings]
            loss = swapped_cross_entropy(self._assign(torch.stack(embeddings[:2])), logits)
        return MethodOutput(loss, projections)

    def before_step(self, moment: Moment) -> None:
        """Put the prototypes on the unit sphere; see whether it is time for the queue."""
        with torch.no_grad():
            self.prototypes.weight.copy_(functional.normalize(self.prototypes.weight, dim=-1))
        self._has_queue_begun = moment.is_continuation or moment.epoch >= self._settings.queue_from_epoch

    def before_update(self, moment: Moment) -> None:
        """Hold the prototypes in the first epochs."""
        if not moment.is_continuation and moment.epoch < self._settings.freeze_prototypes_epochs:
            self.prototypes.weight.grad = None

    @torch.no_grad()
    def _assign(self, embeddings: Tensor) -> Tensor:
        """Assignments, shape (2, batch, num_prototypes), of this process's rows.

        They are balanced over the rows of all processes and of the queue.
        """
        batch = gather_rows(embeddings, dim=1)
        rows = torch.cat([batch, self.queue], dim=1)
        has_queue = self._has_queue_begun and self._settings.queue_size > 0
        is_full = has_queue and bool(self.queue[:, -1].any())  # the oldest row is no longer 0
        scores = self.prototypes(rows if is_full else batch)
        if has_queue and self.training:
            self.queue.copy_(rows[:, : self._settings.queue_size])
        assignments = sinkhorn(scores, self._settings.epsilon, self._settings.sinkhorn_iterations)
        return assignments[:, own_rows(embeddings, dim=1)]
