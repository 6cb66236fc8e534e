"""Optimisers and learning-rate schedules, from the `optimizer` mapping of a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from study.training.lars import LARS


def build_optimizer(
    network: nn.Module, settings: Mapping[str, Any], own_rates: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """Build the optimiser of all trainable parameters of `network`.

    Its groups have the key `own_rate`: the constant rate of a submodule that `own_rates` names, else None.

    `adamw` is Loshchilov & Hutter 2019, `sgd` has momentum, `lars` and `larc` are in `lars`. Weight decay, and the
    layer-wise rates of LARS and LARC, apply to every parameter, or with `exclude_bias_and_norm` to those of two and
    more dimensions alone.
    """
    groups = list(_groups(network, settings, own_rates or {}))
    momentum = {"momentum": settings["momentum"]} if "momentum" in settings else {}
    match settings["name"]:
        case "adamw":
            return torch.optim.AdamW(groups, lr=settings["lr"])
        case "sgd":
            return torch.optim.SGD(groups, lr=settings["lr"], **momentum)
        case name:
            trust = settings["trust_coefficient"]
            return LARS(groups, lr=settings["lr"], **momentum, trust_coefficient=trust, as_larc=name == "larc")


def _groups(
    network: nn.Module, settings: Mapping[str, Any], own_rates: Mapping[str, float]
) -> Iterator[dict[str, Any]]:
    """Parameters by what applies to them: own rate, weight decay and layer-wise rate."""
    excludes = settings["exclude_bias_and_norm"]
    made: dict[tuple[float | None, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            rates = [rate for part, rate in own_rates.items() if name.startswith(f"{part}.")]
            is_excluded = excludes and parameter.ndim <= 1
            made.setdefault((rates[0] if rates else None, is_excluded), []).append(parameter)
    for (own_rate, is_excluded), parameters in made.items():
        yield {
            "params": parameters,
            "weight_decay": 0.0 if is_excluded else settings["weight_decay"],
            "own_rate": own_rate,
            "is_excluded": is_excluded,
        }


def carry_over(optimizer: torch.optim.Optimizer, earlier: Mapping[str, Any]) -> None:
    """Load the moments of an earlier optimiser's `state_dict`, and nothing else.

    `load_state_dict` would bring the earlier weight decay and momentum along, whatever the settings say now.
    """
    optimizer.load_state_dict({**optimizer.state_dict(), "state": earlier["state"]})


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
