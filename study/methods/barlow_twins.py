"""Barlow Twins: each dimension correlates with itself in the other view, and with no other dimension."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from study.methods._heads import perceptron
from study.methods._pairs import PairMethod, PairNetwork
from study.methods._settings import require_at_least, require_positive, require_weights
from study.tensors.correlation import redundancy, standardise
from study.tensors.gather import gather_rows


@dataclass(frozen=True)
class BarlowTwins(PairMethod):
    """Settings of the projector and of the loss.

        loss = Σ_i (1 - C_ii)² + redundancy_weight · Σ_{i≠j} C_ij²,    C = Ẑᵀ Ẑ' / N
        Ẑ = (Z - mean) / √(var + ε) per dimension, var divided by N

    0 ≤ loss ≤ 4 D + redundancy_weight · D (D-1). C is that of the rows of all processes, normalised together, so
    that value and gradient are those of one process with the whole batch; the authors' code sums C over processes
    without a gradient, which makes its gradient smaller by the number of processes. Projections are those before the
    normalisation, whose running statistics nothing reads: none are kept.

    Source: Zbontar, Jing, Misra, LeCun & Deny, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction",
    ICML 2021, eq. 1 and 2, https://arxiv.org/abs/2103.03230, with the weight λ of the authors' code
    (https://github.com/facebookresearch/barlowtwins, main.py). The widths are this project's own choice for small
    encoders (8192 there).

    Attributes:
        projection_dim: D, width of the projections.
        hidden_dim: width of the projector's two hidden layers.
        redundancy_weight: λ ≥ 0.
        epsilon: ε > 0, of the batch normalisation.

    Raises:
        ValueError: a field is out of its range.
    """

    projection_dim: int = 256
    hidden_dim: int = 256
    redundancy_weight: float = 0.0051
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        require_at_least(self, 1, "projection_dim", "hidden_dim")
        require_weights(self, "redundancy_weight")
        require_positive(self, "epsilon")

    def build(self, backbone: nn.Module, representation_dim: int) -> PairNetwork:
        """Put the projector on `backbone`."""
        widths = (representation_dim, self.hidden_dim, self.hidden_dim, self.projection_dim)
        return PairNetwork(backbone, perceptron(widths, last_bias=False), self)

    def loss(self, projections: Tensor) -> Tensor:
        """Compute the loss of (2, batch, dim) projections, this process's rows."""
        first, second = standardise(gather_rows(projections, dim=1), self.epsilon).unbind()
        disagreement = ((first * second).mean(dim=0) - 1).square().sum()
        return disagreement + self.redundancy_weight * redundancy(first, second)
