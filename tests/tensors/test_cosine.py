from __future__ import annotations

import torch
from torch.nn import functional

from study.tensors.cosine import mean_cosine


def test_equals_torch_in_double_precision() -> None:
    a, b = torch.randn(2, 9, 5, dtype=torch.float64)
    expected = functional.cosine_similarity(a, b, dim=-1).mean()
    assert torch.equal(mean_cosine(a, b), expected)


def test_rows_that_nearly_agree_differ_under_autocast_too() -> None:
    a = torch.randn(20, 64)
    b = a + 0.03 * torch.randn(20, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = mean_cosine(a, b)
    assert torch.equal(inside, mean_cosine(a, b)) and 1e-5 < 1 - float(inside) < 1e-3
    half = mean_cosine(a.bfloat16(), b.bfloat16())
    assert half.dtype == torch.float32 and abs(float(half - inside)) < 1e-4
