"""Continuing without an add-on must be the base method to the bit."""

from __future__ import annotations

import torch

from study.criteria.base import Views
from study.criteria.none import NoCriterion


def test_adds_nothing_to_loss_and_gradient() -> None:
    plain, extended = (torch.linspace(-1, 1, 24).reshape(2, 4, 3).requires_grad_() for _ in range(2))
    result = NoCriterion()(Views(extended))
    plain.square().mean().backward()  # type: ignore[no-untyped-call]
    (extended.square().mean() + result.total).backward()  # type: ignore[no-untyped-call]
    assert result.terms == {}
    assert float(result.total) == 0
    assert plain.grad is not None and extended.grad is not None
    assert torch.equal(plain.grad, extended.grad)
