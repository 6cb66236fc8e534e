"""A plan as a sweep file that leaves nothing open: every arm stands in it, generated ones too, with all its fields.

`load_plan(frozen(plan))` is the plan again, so the frozen file is the same study; it stays that study when a rule of
`ablate` would generate other arms, or a component's defaults would be others, with later code.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import yaml

from study.plan.expand import tuning_overrides
from study.plan.model import Arm, Component, Plan, PlannedEvaluation
from study.plan.spaces import STRENGTH
from study.plan.yaml_out import Dumper

_CRITERION, _SHARED = "criterion.", "continuation.optimizer."


def frozen(plan: Plan) -> str:
    """The text of a sweep file (YAML) that loads as `plan`, whose amendments are not part of it."""
    file = {
        "study": plan.study,
        "question": plan.question,
        "dataset": _component(plan.dataset),
        "augmentation": _component(plan.augmentation),
        "base": _base(plan),
        "continuation": asdict(plan.continuation),
        "arms": {arm.name: _arm(arm) for arm in plan.arms},
        "reference": plan.reference,
        "unit": plan.unit,
        "test": plan.test,
        "contrasts": [list(contrast) for contrast in plan.contrasts],
        "evaluations": {evaluation.name: _evaluation(evaluation) for evaluation in plan.evaluations},
        "primary": plan.primary,
        "equivalence_margin_pp": plan.equivalence_margin_pp,
        "tune": _tune(plan),
        "confirm": {name: list(seeds) for name, seeds in asdict(plan.confirm).items()},
        "numerics": dict(plan.numerics),
    }
    return yaml.dump(file, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)


def _arm(arm: Arm) -> dict[str, Any]:
    if not arm.continued:
        return {"continue": False}
    tuned = {name.removeprefix(_CRITERION): name for name in arm.space if name.startswith(_CRITERION)}
    fixed = {name: value for name, value in arm.criterion.params.items() if name not in tuned}
    start = {field: arm.start[name] for field, name in tuned.items()}
    space = {field: asdict(arm.space[name]) for field, name in tuned.items()}
    weights = [name for name in arm.criterion.params if name.endswith("weight")]
    if arm.strength is not None and len(weights) == 1:
        fixed.pop(weights[0], None)  # the strength takes its place, and the loader refuses both
    given: dict[str, Any] = {"criterion": arm.criterion.name, **fixed}
    if STRENGTH in arm.space:
        start[STRENGTH], space[STRENGTH] = arm.start[STRENGTH], asdict(arm.space[STRENGTH])
    elif arm.strength is not None:
        given["strength"] = arm.strength
    given |= {"start": start, "space": space} if space else {}
    if arm.parent is not None:
        given["generated"] = {
            "from": arm.parent,
            "dropped": list(arm.dropped),
            "swapped": list(arm.swapped),
            "weights": "inherited" if arm.inherits else "tuned",
        }
    return given


def _base(plan: Plan) -> dict[str, Any]:
    parts = {"method": _component(plan.method), "backbone": _component(plan.backbone)}
    if plan.imported is None:
        return parts | asdict(plan.pretraining)
    given = {"checkpoint": plan.imported.checkpoint, "family": plan.imported.family, "sha256": plan.imported.sha256}
    return parts | {key: value for key, value in given.items() if value is not None}


def _tune(plan: Plan) -> dict[str, Any] | str:
    if not plan.tune.trials_per_arm:
        return "none"
    shared = {
        name: asdict(bounds) for arm in plan.arms for name, bounds in arm.space.items() if name.startswith(_SHARED)
    }
    given = {key: value for key, value in asdict(plan.tune).items() if key not in ("dataset", "continuation")}
    return {**given, "shared": shared, "overrides": tuning_overrides(plan)}


def _evaluation(evaluation: PlannedEvaluation) -> dict[str, Any]:
    given = dict(evaluation.params)
    if evaluation.evaluation is not None:
        given["evaluation"] = evaluation.evaluation
    if evaluation.dataset is not None:
        given["dataset"] = _component(evaluation.dataset)
    return given


def _component(component: Component) -> dict[str, Any]:
    return {"name": component.name, **component.params}
