"""Perceptrons that several methods put on a backbone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def perceptron(widths: Sequence[int], *, last_bias: bool = True) -> nn.Sequential:
    """Hidden layers with batch normalisation and ReLU, then a bare linear map.

    Args:
        widths: input, hidden layers, output.
        last_bias: whether the last map has a bias; superfluous before a batch normalisation.
    """
    *hidden, last, out = widths
    layers: list[nn.Module] = []
    for inputs, outputs in zip(hidden, [*hidden[1:], last], strict=True):
        layers += [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(last, out, bias=last_bias))


def each_view(head: nn.Sequential, views: Sequence[Tensor]) -> Tensor:
    """Map views by `head` as if one after the other: batch statistics are those of one view at a time.

    All other layers see the rows of all views at once, so that large weights are read, and get their gradient, but
    once: with expanders of 8192 x 8192 weights this is what memory peaks at, and autocast would sum the gradients of
    views in half precision.

    Args:
        head: layers that treat every row on its own, and batch normalisations.
        views: each of shape (batch, dim).

    Returns:
        Shape (views, batch, out).
    """
    output = torch.stack(list(views))
    for layer in head:
        is_mixing = isinstance(layer, _BatchNorm)  # the only kind whose output depends on other rows
        output = torch.stack([layer(view) for view in output]) if is_mixing else layer(output)
    return output
