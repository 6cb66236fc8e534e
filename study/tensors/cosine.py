"""How well the rows of two matrices point the same way."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def mean_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean cosine similarity of the rows of (N, dim) matrices, in [-1, 1].

    In at least float32 whatever autocast says: rows that nearly agree would be equal in half precision.
    """
    with torch.autocast(a.device.type, enabled=False):
        dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
        return functional.cosine_similarity(a.to(dtype), b.to(dtype), dim=-1).mean()
