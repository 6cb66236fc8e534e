"""SimSiam: each view predicts the other's projection, which is held fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.methods.base import Method, MethodNetwork, MethodOutput


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

    Raises:
        ValueError: a width is not positive.
    """

    projection_dim: int = 256
    hidden_dim: int = 256
    predictor_hidden_dim: int = 64

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, but got {name}={getattr(self, name)}")

    def build(self, backbone: nn.Module, representation_dim: int) -> SimSiamNetwork:
        """Put projector and predictor on `backbone`."""
        projector = nn.Sequential(
            *_hidden_layer(representation_dim, self.hidden_dim),
            *_hidden_layer(self.hidden_dim, self.hidden_dim),
            nn.Linear(self.hidden_dim, self.projection_dim, bias=False),
            nn.BatchNorm1d(self.projection_dim, affine=False),
        )
        predictor = nn.Sequential(
            *_hidden_layer(self.projection_dim, self.predictor_hidden_dim),
            nn.Linear(self.predictor_hidden_dim, self.projection_dim),
        )
        return SimSiamNetwork(backbone, projector, predictor)


class SimSiamNetwork(MethodNetwork):
    """Backbone, projector and predictor; batch statistics are those of one view at a time."""

    def __init__(self, backbone: nn.Module, projector: nn.Module, predictor: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector = projector
        self.predictor = predictor

    def forward(self, views: Sequence[Tensor]) -> MethodOutput:
        """Map two views to the loss in [-1, 1] and their projections.

        The gradient is stopped inside the loss alone: criteria reach the encoder through the projections.

        Raises:
            ValueError: there are not exactly two views.
        """
        if len(views) != 2:
            raise ValueError(f"SimSiam compares exactly 2 views, but got {len(views)}")
        z1, z2 = (self.projector(self.backbone(view)) for view in views)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        loss = (_distance(p1, z2) + _distance(p2, z1)) / 2
        return MethodOutput(loss, torch.stack([z1, z2]))


def _hidden_layer(inputs: int, outputs: int) -> list[nn.Module]:
    """Linear map, batch normalisation (which makes a bias redundant), ReLU."""
    return [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True)]


def _distance(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean negative cosine similarity of rows; the target is constant (eq. 1 and 3)."""
    return -functional.cosine_similarity(prediction, target.detach(), dim=-1).mean()
