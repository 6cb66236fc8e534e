"""Mixed precision: what runs in half precision, and how float16 keeps small gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

_HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Precision:
    """The autocast of a training and, for float16, the factor on its losses.

    Gradients below 6e-8 are zero in float16. The losses are therefore multiplied by a factor before gradients are
    taken, and the gradients of the weights, which are float32, divided by it (Micikevicius et al. 2018,
    https://arxiv.org/abs/1710.03740, §3.2). It halves when a gradient is not finite, and the step is then left out; it
    doubles after 2,000 good steps. float32 and bfloat16 need none of this.
    """

    def __init__(self, numerics: Mapping[str, Any], device: torch.device) -> None:
        self._device = device.type
        self._half = _HALF.get(numerics["dtype"])
        self._scaler = torch.amp.GradScaler(self._device, enabled=self._half is torch.float16)
        self._scaler.scale(torch.ones((), device=device))  # the first call is what gives it its factor

    def autocast(self) -> torch.autocast:
        """The context of a forward pass."""
        return torch.autocast(self._device, self._half or torch.bfloat16, enabled=self._half is not None)

    @property
    def loss_scale(self) -> float | None:
        """The factor on the losses; None when there is none."""
        return self._scaler.get_scale() if self._scaler.is_enabled() else None

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Update the weights, unless a gradient is not finite in float16.

        Processes that have averaged their gradients decide alike: what is not finite in one is so in the mean.
        """
        self._scaler.step(optimizer)
        self._scaler.update()

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        return self._scaler.state_dict()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(dict(state))
