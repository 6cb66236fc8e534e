"""A base that is imported instead of trained: a published checkpoint becomes weights like those of any other base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study import registry
from study.errors import DataError
from study.methods.base import MethodNetwork
from study.pretrained import load_checkpoint
from study.training.checkpoint import save_checkpoint
from study.training.optimizers import build_optimizer
from study.worker.workplace import Workplace

_MOMENTS = {
    "adamw": {"exp_avg", "exp_avg_sq", "step"},
    "sgd": {"momentum_buffer"},
    "lars": {"momentum"},
    "larc": {"momentum"},
}
_ANY_SETTINGS = {
    "lr": 1.0,
    "weight_decay": 0.0,
    "momentum": 0.9,
    "trust_coefficient": 1e-3,
}  # moments know none of them


def import_base(work: Workplace, network: MethodNetwork) -> dict[str, Any]:
    """Load the checkpoint that the spec names into `network`, all of it.

    When the continuation keeps the optimiser's moments, they are left in the attempt's checkpoint, as pre-training
    leaves them.

    Returns:
        `family`, `sha256` of the published file, `epoch` and the text of the `report`.

    Raises:
        DataError: the checkpoint cannot be read completely, or the method's widths are not the checkpoint's; says
            what to write.
    """
    training = work.spec.training
    settings = training["imported"]
    moments = settings["moments"]
    checkpoint = load_checkpoint(
        work.spec.labels["checkpoint"],
        settings["family"],
        cache=work.home.checkpoints,
        sha256=settings["sha256"],
        architecture=registry.component("backbones", training["backbone"]["name"]).architecture,
        optimizer="reset" if moments is None else "keep",
    )
    _check_widths(training["method"], checkpoint.report.widths)
    checkpoint.load_into(network)
    if moments is not None:
        optimizer = build_optimizer(network, {**_ANY_SETTINGS, **moments}, network.own_rates)
        state = checkpoint.moments_for(network, optimizer, _MOMENTS[moments["name"]])
        content = {"step": 0, "network": network.state_dict(), "optimizer": {"state": state}, "criterion_scale": None}
        save_checkpoint(work.attempt.checkpoint, content)
    return {
        "family": settings["family"],
        "sha256": checkpoint.sha256,
        "epoch": checkpoint.epoch,
        "report": str(checkpoint.report),
    }


def _check_widths(method: Mapping[str, Any], widths: Mapping[str, int]) -> None:
    given = method["params"]
    wrong = {name: width for name, width in widths.items() if name in given and given[name] != width}
    if wrong:
        has = ", ".join(f"{name} {width}, not {given[name]}" for name, width in wrong.items())
        fields = ", ".join(f"{name}: {width}" for name, width in widths.items() if name in given)
        raise DataError(f"the checkpoint's head has {has}; write  method: {{name: {method['name']}, {fields}}}")
