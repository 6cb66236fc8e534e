"""What every step reports of the projections, the same for every arm whatever its criterion."""

from __future__ import annotations

import torch
from torch import Tensor

from study.tensors.covariance import off_diagonal_covariance
from study.tensors.normal import normal_cdf
from study.tensors.spacings import default_spacing, spacing_entropy

_EPSILON = 1e-7
_MAX_DIMS = 1024
_SATURATED = 3.3  # beyond it the normal CDF is within 5e-4 of its limits, and half precision rounds it to them


@torch.no_grad()
def describe_projections(projections: Tensor) -> dict[str, Tensor]:
    """Scalars that say how far projections are from independent standard normal ones.

    Of the first view alone and its first 1,024 dimensions, to be cheap, and of this process's rows:

    - `entropy_min`, `entropy_mean`, `entropy_max`: marginal entropies over the dimensions after the normal map,
      m = round(√N), in nats; a little below 0 for standard normal marginals;
    - `covariance_excess`: the covariance penalty after that map, minus its expectation Σ_{i≠j} v_i v_j / (D (N-1))
      for independent dimensions with the observed variances v, which is about 0 when nothing covaries linearly;
    - `std_min`, `std_mean`, `std_max` of the dimensions;
    - `saturated`: share of entries beyond ±3.3.

    Args:
        projections: shape (views, batch, dim), batch ≥ 2.
    """
    z = projections[0, :, :_MAX_DIMS].detach().float()
    num_rows, dim = z.shape
    uniform = normal_cdf(z)
    entropies = spacing_entropy(uniform.mT, (default_spacing(num_rows),), _EPSILON)
    variances = uniform.var(dim=0)
    floor = (variances.sum().square() - variances.square().sum()) / (dim * (num_rows - 1))
    deviations = z.std(dim=0)
    return {
        **_spread("entropy", entropies),
        "covariance_excess": off_diagonal_covariance(uniform) - floor,
        **_spread("std", deviations),
        "saturated": (z.abs() > _SATURATED).float().mean(),
    }


def _spread(name: str, values: Tensor) -> dict[str, Tensor]:
    return {f"{name}_min": values.min(), f"{name}_mean": values.mean(), f"{name}_max": values.max()}
