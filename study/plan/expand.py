"""From a plan to run specs: pure functions of the plan, an arm, parameters and seeds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from study.plan.identity import evaluation_request, training_identity
from study.plan.model import Arm, Imported, Phase, Plan, Recipe
from study.plan.spec import EvaluationRequest, RunSpec

NO_CRITERION: Mapping[str, Any] = {"name": "none", "params": {}, "strength": None}
TRAINED_SPLITS = {Phase.TUNE: "validation", Phase.CONFIRM: "test"}


def base_spec(plan: Plan, base_seed: int) -> RunSpec:
    """The pre-training or the import of one base model; its run id is the hash alone, because studies share bases."""
    if plan.imported is not None:
        return _import_spec(plan, plan.imported, base_seed)
    training = {
        "stage": "pretraining",
        **_substrate(plan),
        "augmentation": asdict(plan.augmentation),
        "initial": None,
        "criterion": NO_CRITERION,
        **asdict(plan.pretraining),
        "seeds": {"base": base_seed},
        "numerics": dict(plan.numerics),
    }
    identity = training_identity(training)
    return RunSpec(identity[:12], identity, training, {"phase": str(Phase.PREPARE), "base_seed": base_seed})


def _import_spec(plan: Plan, imported: Imported, base_seed: int) -> RunSpec:
    """Nothing is trained; where the file lies is a label."""
    training = {
        "stage": "import",
        **_substrate(plan),
        "pixels": "imagenet",
        "initial": None,
        "imported": imported.as_identity(),
        "criterion": NO_CRITERION,
        "epochs": 0,
        "seeds": {"base": base_seed},
        "numerics": dict(plan.numerics),
    }
    identity = training_identity(training)
    labels = {"phase": str(Phase.PREPARE), "base_seed": base_seed, "checkpoint": imported.checkpoint}
    return RunSpec(identity[:12], identity, training, labels)


def run_spec(
    plan: Plan, arm: Arm, params: Mapping[str, float], base_seed: int, continuation_seed: int, phase: Phase
) -> RunSpec:
    """One run of an arm with the tuned parameters `params` (dotted name → value).

    An arm that is not continued has neither criterion nor optimiser; see `Plan.continuation_seeds` for its seeds.
    """
    own = plan.during(phase)
    common = {**_substrate(own), "initial": {"base": base_spec(plan, base_seed).identity}}
    if plan.imported is not None:
        common["pixels"] = "imagenet"  # what published networks expect
    if plan.unit == "continuation":
        common["labels_vary"] = True  # with the continuation seed
    if arm.continued:
        criterion, recipe = configured(own, arm, params)
        training = {
            "stage": "continuation",
            **common,
            "augmentation": asdict(plan.augmentation),
            "criterion": criterion,
            **asdict(recipe),
            "seeds": {"base": base_seed, "continuation": continuation_seed},
            "numerics": dict(plan.numerics),
        }
    else:
        seeds = {"base": base_seed} | ({"continuation": continuation_seed} if continuation_seed else {})
        training = {
            "stage": "continuation", **common, "criterion": NO_CRITERION, "epochs": 0,
            "seeds": seeds, "numerics": dict(plan.numerics),
        }  # fmt: skip
    identity = training_identity(training)
    labels = {
        "study": plan.study,
        "arm": arm.name,
        "phase": str(phase),
        "base_seed": base_seed,
        "continuation_seed": continuation_seed,
    }
    return RunSpec(f"{arm.name}-b{base_seed}-c{continuation_seed}-{identity[:12]}", identity, training, labels)


def configured(plan: Plan, arm: Arm, params: Mapping[str, float]) -> tuple[dict[str, Any], Recipe]:
    """The criterion and the recipe of an arm after putting in tuned parameters."""
    own: dict[str, Any] = {"strength": arm.strength}
    criterion = dict(arm.criterion.params)
    optimizer = dict(plan.continuation.optimizer)
    for name, value in params.items():
        owner, _, key = name.rpartition(".")
        {"": own, "criterion": criterion, "continuation.optimizer": optimizer}[owner][key] = value
    recipe = Recipe(plan.continuation.epochs, plan.continuation.batch_size, optimizer)
    return {"name": arm.criterion.name, "params": criterion, **own}, recipe


def tuning_overrides(plan: Plan) -> dict[str, Any]:
    """What differs while tuning, by its place in the sweep file."""
    own = plan.during(Phase.TUNE)
    places = (
        ("continuation", vars(plan.continuation), vars(own.continuation)),
        ("continuation.optimizer", plan.continuation.optimizer, own.continuation.optimizer),
        ("dataset", plan.dataset.params, own.dataset.params),
    )
    return {
        f"{place}.{key}": value
        for place, before, after in places
        for key, value in after.items()
        if value != before.get(key) and not isinstance(value, Mapping)
    }


def tuning_differences(plan: Plan) -> list[str]:
    """What differs while tuning, as `epochs 1`."""
    return [f"{place.rpartition('.')[2]} {value}" for place, value in tuning_overrides(plan).items()]


def inherited(arm: Arm, winner: Mapping[str, float]) -> dict[str, float]:
    """The parent's winning parameters as an inheriting arm uses them: without those it holds fixed."""
    return {name: value for name, value in winner.items() if name in arm.space}


def tune_specs(plan: Plan, arm: Arm, params: Mapping[str, float]) -> list[RunSpec]:
    """The runs of one trial."""
    return _over_seeds(plan, arm, params, Phase.TUNE)


def confirm_specs(plan: Plan, arm: Arm, params: Mapping[str, float]) -> list[RunSpec]:
    """The runs on which an arm's winner is judged."""
    return _over_seeds(plan, arm, params, Phase.CONFIRM)


def required_evaluations(plan: Plan, phase: Phase) -> tuple[EvaluationRequest, ...]:
    """What a run of this phase must be evaluated on: the objective on validation, or everything on test."""
    split = TRAINED_SPLITS[phase]
    objective = plan.tune.objective.split("/")[0]
    wanted = [e for e in plan.evaluations if phase is Phase.CONFIRM or e.name == objective]
    return tuple(evaluation_request(e, split) for e in wanted)


def _over_seeds(plan: Plan, arm: Arm, params: Mapping[str, float], phase: Phase) -> list[RunSpec]:
    base_seeds = (plan.tune if phase is Phase.TUNE else plan.confirm).base_seeds
    seeds = itertools.product(base_seeds, plan.continuation_seeds(arm, phase))
    return [run_spec(plan, arm, params, base, continuation, phase) for base, continuation in seeds]


def _substrate(plan: Plan) -> dict[str, Any]:
    return {name: asdict(getattr(plan, name)) for name in ("dataset", "method", "backbone")}
