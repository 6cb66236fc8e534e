"""A base that is imported: what the sweep file must say of it, and what the plan keeps."""

from __future__ import annotations

from study import registry
from study.errors import Problem, did_you_mean
from study.plan.model import Component, Imported
from study.plan.salvage import has
from study.plan.schema import ImportedBaseIn, SweepIn

_MOMENTS = ("name", "exclude_bias_and_norm")  # decide which parameter is where in an optimiser, and what it remembers


def check_import(sweep: SweepIn, base: ImportedBaseIn, backbone: Component | None, problems: list[Problem]) -> None:
    """Family, backbone and unit fit a published checkpoint."""
    known = registry.names("pretrained")
    if base.family not in known:
        problems.append(
            Problem("base.family", f"no {base.family!r} in study/pretrained/.{did_you_mean(base.family, known)}")
        )
    elif base.family in registry.names("methods") and base.family != base.method.name:
        message = f"{base.family} has other heads than base.method {base.method.name}; write method: {base.family}"
        problems.append(Problem("base.family", message))
    if not base.checkpoint.strip():
        problems.append(Problem("base.checkpoint", "must be a path or an address, but is empty"))
    if backbone is not None:
        _check_backbone(backbone, problems)
    if has(sweep, "unit", "confirm") and sweep.unit == "base":
        message = "an imported base is one checkpoint, so its continuations are the units; write unit: continuation"
        problems.append(Problem("unit", message))


def imported(base: ImportedBaseIn, sweep: SweepIn) -> Imported:
    """What the plan keeps of an imported base."""
    optimizer = sweep.continuation.optimizer
    moments = {key: getattr(optimizer, key) for key in _MOMENTS} if optimizer.state == "keep" else None
    checkpoint, mark, digest = base.checkpoint.partition("#sha256=")
    return Imported(checkpoint, base.family, base.sha256 or (digest if mark else None), moments)


def _check_backbone(backbone: Component, problems: list[Problem]) -> None:
    if getattr(registry.component("backbones", backbone.name), "architecture", None) is None:
        known = [name for name, cls in registry.usable("backbones") if getattr(cls, "architecture", None) is not None]
        message = f"published checkpoints have one of torchvision's ResNets; write {' or '.join(known)}"
        problems.append(Problem("base.backbone", message))
    elif backbone.params.get("stem") != "imagenet":
        message = f"published ResNets have the stem imagenet, but got {backbone.params.get('stem')}"
        problems.append(Problem("base.backbone.stem", message))
