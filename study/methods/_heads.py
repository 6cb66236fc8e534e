"""Perceptrons that several methods put on a backbone."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


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
