"""Parts of heads in NumPy, and the comparison of all gradients of a network with a transcription of its loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

Array = NDArray[np.float64]
Parameters = Mapping[str, Array]


def state_of(network: nn.Module) -> dict[str, Array]:
    """Copies of all parameters and buffers."""
    return {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}


def linear(x: Array, state: Parameters, name: str) -> Array:
    return x @ state[f"{name}.weight"].T + state.get(f"{name}.bias", np.zeros(()))


def batch_norm(x: Array, state: Parameters, name: str) -> Array:
    """By the statistics of the batch."""
    normed = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)
    return normed * state[f"{name}.weight"] + state[f"{name}.bias"]


def perceptron(x: Array, state: Parameters, name: str) -> Array:
    """One hidden layer; numbers are positions in the sequential head."""
    hidden = batch_norm(linear(x, state, f"{name}.0"), state, f"{name}.1")
    return linear(np.maximum(hidden, 0), state, f"{name}.3")


def unit(x: Array) -> Array:
    """Rows on the unit sphere."""
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def softmax(x: Array) -> Array:
    """Of every row."""
    shares = np.exp(x - x.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def cross_entropy(targets: Array, logits: Array) -> float:
    """Mean over rows."""
    return float(-(targets * np.log(softmax(logits))).sum(axis=1).mean())


def check_gradients(network: nn.Module, loss: Callable[[dict[str, Array]], float]) -> None:
    """Assert that the gradient of every trained parameter is that of `loss`, along a random direction.

    The gradients have been computed already; `loss` maps a state to a value.
    """
    rng, step, state = np.random.default_rng(7), 1e-6, state_of(network)
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None, name
            continue
        direction = rng.standard_normal(parameter.shape)
        ahead, behind = (loss(state | {name: state[name] + s * step * direction}) for s in (1, -1))
        assert parameter.grad is not None, name
        slope = float((parameter.grad.numpy() * direction).sum())
        assert slope == pytest.approx((ahead - behind) / (2 * step), rel=1e-5, abs=1e-8), name
