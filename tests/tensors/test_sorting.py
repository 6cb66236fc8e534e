from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from study.tensors.sorting import sort_rows


def _samples(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(7,), (3, 100), (2, 3, 5), (4, 1), (0, 5)], ids=str)
@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_it_is_the_stable_sort_of_torch(dtype: torch.dtype, shape: tuple[int, ...], decimals: int) -> None:
    samples = _samples(*shape, dtype=dtype).round(decimals=decimals) + 0.0  # 0.0: no negative zeros
    before = samples.clone()
    ordered, order = sort_rows(samples)
    expected = torch.sort(samples, dim=-1, stable=True)
    assert torch.equal(ordered, expected.values) and torch.equal(order, expected.indices)
    assert (ordered.dtype, order.dtype) == (dtype, torch.int64)
    assert torch.equal(samples, before)


def test_rows_need_not_be_contiguous() -> None:
    samples = _samples(2, 30, 4).mT
    assert torch.equal(sort_rows(samples)[0], torch.sort(samples, dim=-1).values)


def test_the_whole_range_of_single_precision() -> None:
    tiny, huge = torch.finfo(torch.float32).smallest_normal * 2**-20, torch.finfo(torch.float32).max
    ascending = torch.tensor([-math.inf, -huge, -1.0, -tiny, -0.0, 0.0, tiny, 1.0, 1.0 + 2**-23, huge, math.inf])
    order = torch.randperm(len(ascending), generator=torch.Generator().manual_seed(0))
    ordered, positions = sort_rows(ascending[order])
    assert torch.equal(ordered, ascending) and torch.equal(ordered.signbit(), ascending.signbit())
    assert torch.equal(order[positions], torch.arange(len(ascending)))


def test_what_is_not_a_number_stays_one_and_keeps_its_position() -> None:
    ordered, order = sort_rows(torch.tensor([2.0, math.nan, 1.0]))
    assert ordered[:2].tolist() == [1, 2] and ordered[2].isnan()
    assert order.tolist() == [2, 0, 1]
