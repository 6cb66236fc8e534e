"""LARS and LARC: every layer's step is in proportion to the layer's own weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class LARS(torch.optim.Optimizer):
    """SGD with momentum whose gradients are rescaled layer by layer.

        d = g + λ w,    s = η ‖w‖ / ‖d‖            (LARS; 1 where a norm is 0)
                        s = η ‖w‖ / (‖g‖ + λ ‖w‖)    (LARC; no decay and 1 where a norm is 0)
        μ ← momentum · μ + s d,    w ← w - lr μ

    Groups with `is_excluded` use s = 1.

    Source: You, Gitman & Ginsburg, "Large Batch Training of Convolutional Networks", 2017,
    https://arxiv.org/abs/1708.03888, eq. 6 and algorithm 1. LARS as in the code of Barlow Twins and VICReg; LARC as
    in NVIDIA's apex with `clip=False`, which SwAV uses: its denominator holds the sum of the norms.
    """

    def __init__(
        self, params: Iterable[Any], lr: float, *, momentum: float = 0.9, weight_decay: float = 0.0,
        trust_coefficient: float = 1e-3, as_larc: bool = False,
    ) -> None:  # fmt: skip
        """`trust_coefficient` is η; `as_larc` chooses the second form."""
        defaults = {
            "lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust_coefficient": trust_coefficient,
            "as_larc": as_larc, "is_excluded": False,
        }  # fmt: skip
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                update = _scaled(parameter, parameter.grad, group)
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].mul_(group["momentum"]).add_(update)
                parameter.add_(state["momentum"], alpha=-group["lr"])
        return loss


def _scaled(weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
    """The decayed gradient at the layer's own rate; of LARS, in the place of the gradient, which is used up."""
    if group["is_excluded"]:
        return gradient.add_(weight, alpha=group["weight_decay"])
    size = torch.linalg.vector_norm(weight)
    if group["as_larc"]:
        pull = torch.linalg.vector_norm(gradient)
        decayed = gradient.add(weight, alpha=group["weight_decay"])
        is_defined = (size > 0) & (pull > 0)
        scale = group["trust_coefficient"] * size / (pull + group["weight_decay"] * size)
        return torch.where(is_defined, decayed.mul_(scale), gradient)
    decayed = gradient.add_(weight, alpha=group["weight_decay"])
    pull = torch.linalg.vector_norm(decayed)
    is_defined = (size > 0) & (pull > 0)
    return decayed.mul_(torch.where(is_defined, group["trust_coefficient"] * size / pull, 1.0))
