"""VICReg: two views agree, every dimension keeps its variance, no two dimensions covary."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from study.methods._heads import perceptron
from study.methods._pairs import PairMethod, PairNetwork
from study.methods._settings import require_at_least, require_positive, require_weights
from study.tensors.covariance import off_diagonal_covariance
from study.tensors.gather import gather_rows
from study.tensors.variance import std_shortfall


@dataclass(frozen=True)
class VICReg(PairMethod):
    """Settings of the expander and of the loss.

        loss = invariance_weight · mean_{n,d} (z_nd - z'_nd)²
             + variance_weight · (S(Z) + S(Z')) / 2 + covariance_weight · (R(Z) + R(Z'))
        S(Z) = 1/D Σ_d max(0, 1 - √(var_d(Z) + ε)),    R(Z) = 1/D Σ_{i≠j} cov_ij(Z)²

    The loss is ≥ 0. Variances and covariances divide by N - 1 and are those of the rows of all processes; the
    invariance is that of this process's rows.

    Source: Bardes, Ponce & LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised
    Learning", ICLR 2022, eq. 1-6, https://arxiv.org/abs/2105.04906, as the authors' code
    (https://github.com/facebookresearch/vicreg, main_vicreg.py) scales the terms: eq. 5 sums the invariance over
    dimensions and eq. 6 the variance over views, where the code, like this, averages. solo-learn sums the variance
    over views, so that its weight counts twice. The weights are the authors' for ImageNet; the widths are this
    project's own choice for small encoders (8192 there). The authors' hidden layers have biases, which the batch
    normalisation after them takes out again; these have none.

    Attributes:
        projection_dim: D, width of the projections.
        hidden_dim: width of the expander's two hidden layers.
        invariance_weight: ≥ 0.
        variance_weight: ≥ 0.
        covariance_weight: ≥ 0.
        epsilon: ε > 0; bounds the slope of the root where a dimension is constant.

    Raises:
        ValueError: a field is out of its range.
    """

    projection_dim: int = 256
    hidden_dim: int = 256
    invariance_weight: float = 25.0
    variance_weight: float = 25.0
    covariance_weight: float = 1.0
    epsilon: float = 1e-4

    def __post_init__(self) -> None:
        require_at_least(self, 1, "projection_dim", "hidden_dim")
        require_weights(self, "invariance_weight", "variance_weight", "covariance_weight")
        require_positive(self, "epsilon")

    def build(self, backbone: nn.Module, representation_dim: int) -> PairNetwork:
        """Put the expander on `backbone`."""
        widths = (representation_dim, self.hidden_dim, self.hidden_dim, self.projection_dim)
        return PairNetwork(backbone, perceptron(widths, last_bias=False), self)

    def loss(self, projections: Tensor) -> Tensor:
        """Compute the loss of (2, batch, dim) projections, this process's rows."""
        first, second = projections
        invariance = functional.mse_loss(first, second)
        everyone = gather_rows(projections, dim=1)
        variance = std_shortfall(everyone, 1.0, self.epsilon)
        covariance = off_diagonal_covariance(everyone).sum()
        return (
            self.invariance_weight * invariance + self.variance_weight * variance + self.covariance_weight * covariance
        )
