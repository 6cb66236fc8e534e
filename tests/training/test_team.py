"""Gradients travel in buckets: each once, with its kind, and never much at a time."""

from __future__ import annotations

import pytest
import torch

from study.training import team


def test_buckets_hold_every_gradient_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "_BUCKET_SIZE", 10)
    single = [torch.zeros(size) for size in (4, 4, 4, 20, 1, 9, 1)]
    double = [torch.zeros(size, dtype=torch.float64) for size in (6, 6)]
    buckets = list(team._buckets([*single[:2], double[0], *single[2:], double[1]]))
    assert all(len({gradient.dtype for gradient in bucket}) == 1 for bucket in buckets)
    assert all(len(bucket) == 1 or sum(g.numel() for g in bucket) <= 10 for bucket in buckets)
    found = [id(gradient) for bucket in buckets for gradient in bucket]
    assert sorted(found) == sorted(map(id, [*single, *double]))
    assert len(buckets) == 7, "(4, 4), (4), (20), (1, 9), (1), and one for each of the others"
