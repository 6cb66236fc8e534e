"""SimSiam: each view predicts the other's projection, which is held fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from study.methods._heads import each_view, perceptron
from study.methods._pairs import require_two_views
from study.methods._settings import require_at_least, require_positive
from study.methods.base import Method, MethodNetwork, MethodOutput
from study.tensors.cosine import mean_cosine


@dataclass(frozen=True)
class SimSiam(Method):
    """Settings of the heads.

    Source: Chen & He, "Exploring Simple Siamese Representation Learning", CVPR 2021, Algorithm 1 and eq. 1-4,
    https://arxiv.org/abs/2011.10566. The widths are this project's own choice for small encoders (2048 and
    512 there).

    Attributes:
        projection_dim: width of the projections.
        hidden_dim: width of the projector's two hidden layers.
        predictor_hidden_dim: width of the predictor's bottleneck.
        predictor_lr: learning rate of the predictor, constant whatever the schedule does (§4.2 of the source finds
            that better than decaying it); None: the predictor is trained like everything else.

    Raises:
        ValueError: a width or the rate is not positive.
    """

    projection_dim: int = 256
    hidden_dim: int = 256
    predictor_hidden_dim: int = 64
    predictor_lr: float | None = None

    def __post_init__(self) -> None:
        require_at_least(self, 1, "projection_dim", "hidden_dim", "predictor_hidden_dim")
        if self.predictor_lr is not None:
            require_positive(self, "predictor_lr")

    def build(self, backbone: nn.Module, representation_dim: int) -> SimSiamNetwork:
        """Put projector and predictor on `backbone`."""
        widths = (representation_dim, self.hidden_dim, self.hidden_dim, self.projection_dim)
        projector = nn.Sequential(
            *perceptron(widths, last_bias=False), nn.BatchNorm1d(self.projection_dim, affine=False)
        )
        predictor = perceptron((self.projection_dim, self.predictor_hidden_dim, self.projection_dim))
        network = SimSiamNetwork(backbone, projector, predictor)
        if self.predictor_lr is not None:
            network.own_rates = {"predictor": self.predictor_lr}
        return network


class SimSiamNetwork(MethodNetwork):
    """Backbone, projector and predictor; batch statistics are those of one view at a time."""

    def __init__(self, backbone: nn.Module, projector: nn.Sequential, predictor: nn.Module) -> None:
        super().__init__(backbone)
        self.projector = projector
        self.predictor = predictor

    def compare(self, representations: Sequence[Tensor], views: Sequence[Tensor]) -> MethodOutput:  # noqa: ARG002
        """Map two views to the loss in [-1, 1] and their projections.

        The gradient is stopped inside the loss alone: criteria reach the encoder through the projections.

        Raises:
            ValueError: there are not exactly two views.
        """
        require_two_views("SimSiam", representations)
        projections = each_view(self.projector, representations)
        z1, z2 = projections
        p1, p2 = self.predictor(z1), self.predictor(z2)
        loss = -(mean_cosine(p1, z2.detach()) + mean_cosine(p2, z1.detach())) / 2  # eq. 3 and 4
        return MethodOutput(loss, projections)
