"""DINO: each view predicts the soft cluster to which a slowly following teacher assigns the other views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.methods._heads import each_view
from study.methods._settings import require_at_least, require_momentum, require_positive
from study.methods._swapped import swapped_cross_entropy
from study.methods._teacher import Teacher, momentum_at
from study.methods.base import Method, MethodNetwork, MethodOutput, Moment
from study.tensors.gather import gather_rows


@dataclass(frozen=True)
class DINO(Method):
    """Settings of the heads, of the teacher and of its targets.

    Source: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021,
    https://arxiv.org/abs/2104.14294, algorithm 1, eq. 1-4 and §3.1-3.2. The widths and the number of prototypes
    are our choice for small encoders (256, 2048 and 65536 there). Two more choices of ours: the teacher's temperature
    is constant (there it rises from 0.04 to 0.07 in the first 30 epochs), and the centre begins at the mean of the
    first batch (at 0 there: for some 1 / (1 - centre_momentum) steps all images then have nearly the same hard
    target, because a fresh network gives them similar scores).

    Attributes:
        projection_dim: width of the projections, the head's bottleneck.
        hidden_dim: width of the hidden layers.
        num_layers: linear layers of the projector; 2 in the ResNet-50 that the authors publish.
        has_batch_norm: batch normalisation behind the hidden layers; the published ResNet-50 has it.
        num_prototypes: number of soft clusters.
        student_temperature: divides the student's scores, which lie in [-1, 1]; > 0.
        teacher_temperature: divides the teacher's; the smaller, the harder the targets; > 0.
        teacher_momentum: m of the teacher, in [0, 1]; rises to 1 in pre-training and is constant in continuations.
        centre_momentum: m of the centre c ← m c + (1 - m) · batch mean, which is subtracted from the teacher's
            scores; in [0, 1].
        freeze_prototypes_epochs: the student's prototypes stand still for so many epochs at the beginning of
            pre-training (1 in the authors' code); never in continuations.

    Raises:
        ValueError: a number is out of range.
    """

    accepts_local_views: ClassVar[bool] = True

    projection_dim: int = 64
    hidden_dim: int = 256
    num_prototypes: int = 256
    student_temperature: float = 0.1
    teacher_temperature: float = 0.04
    teacher_momentum: float = 0.996
    centre_momentum: float = 0.9
    freeze_prototypes_epochs: int = 1
    num_layers: int = 3
    has_batch_norm: bool = False

    def __post_init__(self) -> None:
        require_at_least(self, 1, "projection_dim", "hidden_dim", "num_prototypes", "num_layers")
        require_positive(self, "student_temperature", "teacher_temperature")
        require_momentum(self, "teacher_momentum", "centre_momentum")
        require_at_least(self, 0, "freeze_prototypes_epochs")

    def build(self, backbone: nn.Module, representation_dim: int) -> DINONetwork:
        """Put projector and prototypes on `backbone`, and a teacher beside them."""
        widths = (representation_dim, *[self.hidden_dim] * (self.num_layers - 1), self.projection_dim)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths[:-1]):
            normalisation = [nn.BatchNorm1d(outputs)] if self.has_batch_norm else []
            layers += [nn.Linear(inputs, outputs), *normalisation, nn.GELU()]
        projector = nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))
        return DINONetwork(backbone, projector, _Cosines(self.projection_dim, self.num_prototypes, bias=False), self)


class DINONetwork(MethodNetwork):
    """Backbone, projector, prototypes, and a teacher for all three.

    Evaluations see this backbone, the student's (the authors prefer the teacher's).

    Attributes:
        centre: moving mean of the teacher's scores over full-size views and processes; 0 before the first batch.
    """

    centre: Tensor

    def __init__(self, backbone: nn.Module, projector: nn.Sequential, prototypes: nn.Linear, settings: DINO) -> None:
        super().__init__(backbone)
        self.projector = projector
        self.prototypes = prototypes
        self.teacher = Teacher(self, "backbone", "projector", "prototypes")
        self.register_buffer("centre", torch.zeros(prototypes.out_features))
        self._settings = settings

    def compare(self, representations: Sequence[Tensor], views: Sequence[Tensor]) -> MethodOutput:
        """Map two full-size views and any number of local ones to the loss and the projections of the former.

        The loss is the cross-entropy between teacher and student, averaged over all pairs of a full-size view for the
        teacher and another view for the student. In training mode the centre moves, for the next batch.
        """
        all_projections = each_view(self.projector, representations)
        projections, local = all_projections[:2], all_projections[2:]
        scores = torch.stack([self.teacher(view, self.micro_batch_size) for view in views[:2]])
        targets = ((scores - self._read_and_move_centre(scores)) / self._settings.teacher_temperature).softmax(dim=-1)
        logits = [self.prototypes(z) / self._settings.student_temperature for z in (*projections, *local)]
        return MethodOutput(swapped_cross_entropy(targets, logits), projections)

    def before_update(self, moment: Moment) -> None:
        """Hold the prototypes in the first epochs."""
        if not moment.is_continuation and moment.epoch < self._settings.freeze_prototypes_epochs:
            self.prototypes.weight.grad = None

    def after_update(self, moment: Moment) -> None:
        """Let the teacher follow."""
        self.teacher.follow(self, momentum_at(moment, self._settings.teacher_momentum))

    def _read_and_move_centre(self, scores: Tensor) -> Tensor:
        """Return the centre of the batches before this one; the next one finds it moved towards this one (eq. 4)."""
        mean = gather_rows(scores.mean(dim=(0, 1))[None]).mean(dim=0)
        centre = torch.where(self.centre.any(), self.centre, mean)
        if self.training:
            self.centre.copy_(centre.lerp(mean, 1 - self._settings.centre_momentum))
        return centre


class _Cosines(nn.Linear):
    """Cosine similarities of rows with the rows of the weight: both lie on the unit sphere.

    That is a linear map of normalised rows under weight normalisation (Salimans & Kingma 2016) with norm 1. In full
    precision, because a small temperature multiplies the rounding error of a score.
    """

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            embeddings = functional.normalize(x.to(self.weight.dtype), dim=-1)
            return functional.linear(embeddings, functional.normalize(self.weight, dim=-1))
