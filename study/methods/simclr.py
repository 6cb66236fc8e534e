"""SimCLR: every embedding recognises its other view among all other embeddings of the batch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from study.methods._heads import perceptron
from study.methods._pairs import PairMethod, PairNetwork
from study.methods._settings import require_at_least, require_positive
from study.tensors.contrast import contrast
from study.tensors.gather import gather_rows


@dataclass(frozen=True)
class SimCLR(PairMethod):
    """Settings of the projector and of the loss.

        loss = mean_i [ -e_i·e_p(i) / T + log Σ_{j≠i} exp(e_i·e_j / T) ],    e = z / ‖z‖

    i runs over the 2N embeddings of both views and of all processes, and p(i) is the other view of the same image.
    The loss (NT-Xent) lies in (0, log(2N-1) + 2/T].

    Source: Chen, Kornblith, Norouzi & Hinton, "A Simple Framework for Contrastive Learning of Visual
    Representations", ICML 2020, eq. 1 and Algorithm 1, https://arxiv.org/abs/2002.05709. The temperature is the
    authors' for CIFAR-10 (0.1 for ImageNet) and the width of the projections theirs; that of the hidden layer is this
    project's own choice for small encoders (there: of the representation). The hidden layer is batch-normalised as in
    the authors' code (https://github.com/google-research/simclr, model_util.py), which does so with the output, too.

    Attributes:
        projection_dim: width of the projections.
        hidden_dim: width of the projector's hidden layer.
        temperature: T > 0.

    Raises:
        ValueError: a field is out of its range.
    """

    projection_dim: int = 128
    hidden_dim: int = 256
    temperature: float = 0.5

    def __post_init__(self) -> None:
        require_at_least(self, 1, "projection_dim", "hidden_dim")
        require_positive(self, "temperature")

    def build(self, backbone: nn.Module, representation_dim: int) -> PairNetwork:
        """Put the projector on `backbone`."""
        widths = (representation_dim, self.hidden_dim, self.projection_dim)
        return PairNetwork(backbone, perceptron(widths, last_bias=False), self)

    def loss(self, projections: Tensor) -> Tensor:
        """Compute the loss of (2, batch, dim) projections, this process's rows."""
        first, second = functional.normalize(gather_rows(projections, dim=1), dim=-1)
        return contrast(first, second, self.temperature)
