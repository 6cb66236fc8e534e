"""Optimisers and learning-rate schedules, from the `optimizer` mapping of a recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


def build_optimizer(network: nn.Module, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Build AdamW (Loshchilov & Hutter 2019) or SGD with momentum over all parameters of `network`.

    Weight decay applies to every parameter, biases and normalisation included.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    if settings["name"] == "adamw":
        return torch.optim.AdamW(parameters, lr=settings["lr"], weight_decay=settings["weight_decay"])
    return torch.optim.SGD(
        parameters, lr=settings["lr"], momentum=settings["momentum"], weight_decay=settings["weight_decay"]
    )


def learning_rate(settings: Mapping[str, Any], step: int, num_steps: int, steps_per_epoch: int) -> float:
    """Learning rate of optimiser step `step`, counted from 0.

    Linear warm-up over `warmup_epochs`, then constant, or a half cosine that would reach 0 at `num_steps`.
    """
    peak = float(settings["lr"])
    num_warmup = int(settings["warmup_epochs"]) * steps_per_epoch
    if step < num_warmup:
        return peak * (step + 1) / num_warmup
    if settings["schedule"] == "constant":
        return peak
    progress = (step - num_warmup) / max(1, num_steps - num_warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))
