"""Heads see views as if one after the other."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from study.methods._heads import each_view, perceptron


def _gradients(head: nn.Module, outputs: Tensor) -> list[Tensor]:
    (outputs * torch.arange(outputs.numel(), dtype=outputs.dtype).view_as(outputs).sin()).sum().backward()
    return [parameter.grad for parameter in head.parameters() if parameter.grad is not None]


def test_values_gradients_and_statistics_are_those_of_one_view_after_the_other() -> None:
    torch.manual_seed(0)
    head = nn.Sequential(*perceptron((6, 8, 5), last_bias=True), nn.BatchNorm1d(5, affine=False)).double()
    alone = copy.deepcopy(head)
    views = torch.randn(3, 7, 6, dtype=torch.float64) * torch.tensor([1.0, 5.0, 0.2]).view(3, 1, 1)
    found, expected = each_view(head, list(views)), torch.stack([alone(view) for view in views])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(_gradients(head, found), _gradients(alone, expected))
    torch.testing.assert_close(head.state_dict(), alone.state_dict())


def test_an_evaluated_head_normalises_by_its_running_statistics() -> None:
    torch.manual_seed(0)
    head = perceptron((6, 8, 5))
    each_view(head, list(torch.randn(2, 7, 6)))
    views = torch.randn(2, 7, 6)
    torch.testing.assert_close(each_view(head.eval(), list(views)), head(views.flatten(0, 1)).view(2, 7, 5))
