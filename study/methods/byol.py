"""BYOL: each view predicts how a slowly following teacher projects the other view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from study.methods._heads import each_view, perceptron
from study.methods._pairs import require_two_views
from study.methods._settings import require_at_least, require_momentum
from study.methods._teacher import Teacher, momentum_at
from study.methods.base import Method, MethodNetwork, MethodOutput, Moment
from study.tensors.cosine import mean_cosine


@dataclass(frozen=True)
class BYOL(Method):
    """Settings of the heads and of the teacher.

    Source: Grill et al., "Bootstrap Your Own Latent", NeurIPS 2020, https://arxiv.org/abs/2006.07733, eq. 1-2 and
    §3.3. Our choices are the widths, for small encoders (256 and 4096 there), the momentum, for short trainings
    (0.996 there for 1000 epochs), and a teacher that begins as a copy of the network.

    Attributes:
        projection_dim: width of the projections and predictions.
        hidden_dim: width of the hidden layer of projector and predictor.
        teacher_momentum: m of the teacher ("target network" there), in [0, 1]; rises to 1 in pre-training and is
            constant in continuations.

    Raises:
        ValueError: a width is not positive, or the momentum is out of range.
    """

    projection_dim: int = 64
    hidden_dim: int = 256
    teacher_momentum: float = 0.99

    def __post_init__(self) -> None:
        require_at_least(self, 1, "projection_dim", "hidden_dim")
        require_momentum(self, "teacher_momentum")

    def build(self, backbone: nn.Module, representation_dim: int) -> BYOLNetwork:
        """Put projector and predictor on `backbone`, and a teacher beside them."""
        projector = perceptron((representation_dim, self.hidden_dim, self.projection_dim))
        predictor = perceptron((self.projection_dim, self.hidden_dim, self.projection_dim))
        return BYOLNetwork(backbone, projector, predictor, self.teacher_momentum)


class BYOLNetwork(MethodNetwork):
    """Backbone, projector, predictor and teacher; batch statistics are those of one view at a time."""

    def __init__(
        self, backbone: nn.Module, projector: nn.Sequential, predictor: nn.Module, teacher_momentum: float
    ) -> None:
        super().__init__(backbone)
        self.projector = projector
        self.predictor = predictor
        self.teacher = Teacher(self, "backbone", "projector")
        self._teacher_momentum = teacher_momentum

    def compare(self, representations: Sequence[Tensor], views: Sequence[Tensor]) -> MethodOutput:
        """Map two views to the loss in [0, 4] and their projections.

        The loss is the mean over both directions; that of the source is their sum.

        Raises:
            ValueError: there are not exactly two views.
        """
        require_two_views("BYOL", representations)
        projections = each_view(self.projector, representations)
        p1, p2 = (self.predictor(z) for z in projections)
        t1, t2 = (self.teacher(view, self.micro_batch_size) for view in views)
        loss = 2 - mean_cosine(p1, t2) - mean_cosine(p2, t1)  # mean over both of 2 - 2 cos, eq. 2
        return MethodOutput(loss, projections)

    def after_update(self, moment: Moment) -> None:
        """Let the teacher follow."""
        self.teacher.follow(self, momentum_at(moment, self._teacher_momentum))
