"""Differential entropy of one-dimensional samples from their m-spacings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from study.tensors.sorting import sort_rows

_CACHED_SAMPLES = 2**16  # between 2**15 and 2**18 it makes no difference


def default_spacing(num_samples: int) -> int:
    """Return m = round(√N), the choice of Learned-Miller & Fisher (2003)."""
    return round(math.sqrt(num_samples))


def spacing_entropy(samples: Tensor, spacings: Sequence[int], epsilon: float, *, corrects_bias: bool = False) -> Tensor:
    """Estimate the differential entropy of each row of samples, in nats.

        H = mean_m 1/(N-m) Σ_{i=1}^{N-m} log( (N+1)/m · (u_(i+m) - u_(i)) + ε ),    u_(1) ≤ … ≤ u_(N)

    Vasicek's estimator (1976) as used by Learned-Miller & Fisher (JMLR 4, 2003,
    https://www.jmlr.org/papers/v4/learned-miller03a.html). Samples uniform on [0, 1] give
    log((N+1)/m) + ψ(m) - ψ(N+1) on average, a little below their true entropy of zero; with `corrects_bias`,
    log m - ψ(m) is added, as in the bias-reduced variant of Learned-Miller's own vasicekExact.m, and
    log(N+1) - ψ(N+1) ≈ 1/(2N) is left. ε bounds both the value (all samples equal: log ε) and the gradient of tied
    samples.

    The gradient is written by hand, and both are computed for a few rows at a time: scattering the slope of ordered
    samples while they are in the cache costs less than letting autograd undo a sort, two slices and a logarithm.
    Which of several tied samples gets which slope is a matter of their positions; the sum is not.

    Args:
        samples: shape (..., N); rows are estimated independently.
        spacings: the m to average over, each at least 1 and less than N.
        epsilon: ε > 0, added to the scaled spacings.
        corrects_bias: see above.

    Returns:
        Entropies, shape (...); differentiable once.

    Raises:
        ValueError: there is no spacing, or one is not in [1, N-1].
    """
    num_samples = samples.shape[-1]
    if not spacings or not all(1 <= m < num_samples for m in spacings):
        raise ValueError(f"1 <= spacing < N must hold, but got spacing={_shown(spacings)}, N={num_samples}")
    entropy: Tensor = _MeanLogSpacing.apply(samples, tuple(spacings), epsilon)
    if corrects_bias:
        entropy = entropy + sum(math.log(m) - _digamma(m) for m in spacings) / len(spacings)
    return entropy


class _MeanLogSpacing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, samples: Tensor, spacings: tuple[int, ...], epsilon: float) -> Tensor:
        rows = samples.reshape(-1, samples.shape[-1])
        entropy = rows.new_empty(len(rows))
        slope = torch.empty(rows.shape, dtype=rows.dtype, device=rows.device) if ctx.needs_input_grad[0] else None
        for part in _parts(rows):
            ordered, order = sort_rows(rows[part])
            entropy[part], ordered_slope = _ordered_entropy(ordered, spacings, epsilon)
            if slope is not None:
                slope[part].scatter_(-1, order, ordered_slope)
        if slope is not None:
            ctx.save_for_backward(slope.view(samples.shape))
        return entropy.view(samples.shape[:-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return gradient[..., None] * slope, None, None


def _ordered_entropy(ordered: Tensor, spacings: Sequence[int], epsilon: float) -> tuple[Tensor, Tensor]:
    """Entropies of ordered rows, shape (rows,), and their slopes at each sample, shape (rows, N)."""
    entropy, slope = torch.zeros_like(ordered[:, 0]), torch.zeros_like(ordered)
    for m in spacings:
        factor = (ordered.shape[-1] + 1) / m
        scaled = (ordered[:, m:] - ordered[:, :-m]).mul_(factor).add_(epsilon)
        entropy += scaled.log().mean(dim=-1) / len(spacings)
        share = scaled.reciprocal_().mul_(factor / (scaled.shape[-1] * len(spacings)))
        slope[:, m:] += share
        slope[:, :-m] -= share
    return entropy, slope


def _parts(rows: Tensor) -> Iterator[slice]:
    """As many rows at a time as a CPU's cache holds with all that is computed from them; elsewhere all at once."""
    size = max(1, _CACHED_SAMPLES // rows.shape[-1]) if rows.device.type == "cpu" else max(1, len(rows))
    return (slice(start, start + size) for start in range(0, len(rows), size))


def _digamma(m: int) -> float:
    return float(torch.digamma(torch.tensor(m, dtype=torch.float64)))


def _shown(spacings: Sequence[int]) -> str:
    return str(spacings[0]) if len(spacings) == 1 else str(tuple(spacings))
