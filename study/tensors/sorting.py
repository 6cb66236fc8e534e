"""Stable sorting of rows, several times faster on a CPU than torch's."""

from __future__ import annotations

import torch
from torch import Tensor

_ALL_BUT_SIGN = 0x7FFFFFFF


def sort_rows(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Sort along the last dimension; equal samples keep their order.

    Single precision on a CPU is sorted by NumPy, as 64-bit integers whose upper half orders like the sample and whose
    lower half is its position. Such keys are all different, so that no algorithm and no CPU can order them in another
    way, and NumPy's vectorised sort of integers takes a quarter of the time of torch's stable sort, which is used for
    everything else. The keys differ from torch in what no number tells apart: -0 comes before 0, and a NaN first or
    last by its sign.

    Args:
        samples: shape (..., N).

    Returns:
        Ordered samples and the positions they had, int64; both of the shape of `samples`.
    """
    if samples.device.type != "cpu" or samples.dtype != torch.float32:
        ordered, order = torch.sort(samples, dim=-1, stable=True)
        return ordered, order
    keys = _with_sign_folded(samples.contiguous().view(torch.int32)).long().bitwise_left_shift_(32)
    keys |= torch.arange(samples.shape[-1])
    keys.numpy().sort(axis=-1)
    order = keys & 0xFFFFFFFF
    return _with_sign_folded(keys.bitwise_right_shift_(32).int()).view(torch.float32), order


def _with_sign_folded(bits: Tensor) -> Tensor:
    """Integers that order like the floats of these bits, and back: more negative floats have larger magnitudes."""
    return bits ^ (bits >> 31 & _ALL_BUT_SIGN)
