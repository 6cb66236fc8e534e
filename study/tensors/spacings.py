"""Differential entropy of one-dimensional samples from their m-spacings."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def default_spacing(num_samples: int) -> int:
    """Return m = round(√N), the choice of Learned-Miller & Fisher (2003)."""
    return round(math.sqrt(num_samples))


def spacing_entropy(samples: Tensor, spacing: int, epsilon: float) -> Tensor:
    """Estimate the differential entropy of each row of samples, in nats.

        H = 1/(N-m) Σ_{i=1}^{N-m} log( (N+1)/m · (u_(i+m) - u_(i)) + ε ),    u_(1) ≤ … ≤ u_(N)

    Vasicek's estimator (1976) as used by Learned-Miller & Fisher (JMLR 4, 2003,
    https://www.jmlr.org/papers/v4/learned-miller03a.html), without a bias correction: samples uniform on
    [0, 1] give log((N+1)/m) + ψ(m) - ψ(N+1) on average, a little below their true entropy of zero. ε bounds
    both the value (all samples equal: log ε) and the gradient of tied samples.

    Args:
        samples: shape (..., N); rows are estimated independently.
        spacing: m, at least 1 and less than N.
        epsilon: ε > 0, added to the scaled spacings.

    Returns:
        Entropies, shape (...).

    Raises:
        ValueError: the spacing is not in [1, N-1].
    """
    num_samples = samples.shape[-1]
    if not 1 <= spacing < num_samples:
        raise ValueError(f"1 <= spacing < N must hold, but got spacing={spacing}, N={num_samples}")
    ordered = torch.sort(samples.contiguous(), dim=-1, stable=True).values
    widths = ordered[..., spacing:] - ordered[..., :-spacing]
    return torch.log(widths * ((num_samples + 1) / spacing) + epsilon).mean(dim=-1)
