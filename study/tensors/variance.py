"""How far the columns of a matrix fall short of a standard deviation."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def std_shortfall(samples: Tensor, target: float, epsilon: float) -> Tensor:
    """Return the mean over columns, and over leading dimensions, of max(0, τ - √(var + ε)).

    The variance term of VICReg (Bardes et al. 2022, eq. 1 and 2, https://arxiv.org/abs/2105.04906).

    Args:
        samples: shape (..., N, D), N ≥ 2; variances divide by N - 1.
        target: τ > 0.
        epsilon: ε > 0; bounds the slope of the root where a column is constant.

    Returns:
        A scalar in [0, τ].
    """
    return functional.relu(target - (samples.var(dim=-2) + epsilon).sqrt()).mean()
