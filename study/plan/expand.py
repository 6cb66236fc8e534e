"""From a plan to run specs: pure functions of the plan, an arm, parameters and seeds; each spec is made once."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from study.plan.identity import canonical, evaluation_request, training_identity
from study.plan.model import Arm, Imported, Phase, Plan, Recipe
from study.plan.spec import EvaluationRequest, RunSpec

NO_CRITERION: Mapping[str, Any] = {"name": "none", "params": {}, "strength": None}
_OPEN = object()
TRAINED_SPLITS = {Phase.TUNE: "validation", Phase.CONFIRM: "test"}


def base_spec(plan: Plan, base_seed: int) -> RunSpec:
    """The pre-training or the import of one base model; its run id is the hash alone, because studies share bases."""
    spec: RunSpec | None = plan.memo.get(("base", base_seed))
    if spec is None:
        if "base" not in plan.memo:
            plan.memo["base"] = _Template(_pretraining(plan) if plan.imported is None else _import(plan, plan.imported))
        training, identity = plan.memo["base"].filled(seeds={"base": base_seed})
        labels: dict[str, Any] = {"phase": str(Phase.PREPARE), "base_seed": base_seed}
        if plan.imported is not None:
            labels["checkpoint"] = plan.imported.checkpoint
        spec = plan.memo["base", base_seed] = RunSpec(identity[:12], identity, training, labels)
    return spec


def _pretraining(plan: Plan) -> dict[str, Any]:
    return {
        "stage": "pretraining",
        **_substrate(plan),
        "augmentation": asdict(plan.augmentation),
        "initial": None,
        "criterion": NO_CRITERION,
        **asdict(plan.pretraining),
        "seeds": _OPEN,
        "numerics": dict(plan.numerics),
    }


def _import(plan: Plan, imported: Imported) -> dict[str, Any]:
    """Nothing is trained; where the file lies is a label."""
    return {
        "stage": "import",
        **_substrate(plan),
        "pixels": "imagenet",
        "initial": None,
        "imported": imported.as_identity(),
        "criterion": NO_CRITERION,
        "epochs": 0,
        "seeds": _OPEN,
        "numerics": dict(plan.numerics),
    }


def run_spec(
    plan: Plan, arm: Arm, params: Mapping[str, float], base_seed: int, continuation_seed: int, phase: Phase
) -> RunSpec:
    """One run of an arm with the tuned parameters `params` (dotted name → value).

    An arm that is not continued has neither criterion nor optimiser; see `Plan.continuation_seeds` for its seeds.
    """
    return _run_spec(plan, arm, _Template(_continuation(plan, arm, params, phase)), base_seed, continuation_seed, phase)


def _run_spec(
    plan: Plan, arm: Arm, template: _Template, base_seed: int, continuation_seed: int, phase: Phase
) -> RunSpec:
    seeds = {"base": base_seed} | ({"continuation": continuation_seed} if arm.continued or continuation_seed else {})
    training, identity = template.filled(initial={"base": base_spec(plan, base_seed).identity}, seeds=seeds)
    labels = {
        "study": plan.study,
        "arm": arm.name,
        "phase": str(phase),
        "base_seed": base_seed,
        "continuation_seed": continuation_seed,
    }
    return RunSpec(f"{arm.name}-b{base_seed}-c{continuation_seed}-{identity[:12]}", identity, training, labels)


def _continuation(plan: Plan, arm: Arm, params: Mapping[str, float], phase: Phase) -> dict[str, Any]:
    own = plan.during(phase)
    common: dict[str, Any] = {"stage": "continuation", **_substrate(own), "initial": _OPEN}
    if plan.imported is not None:
        common["pixels"] = "imagenet"  # what published networks expect
    if plan.unit == "continuation":
        common["labels_vary"] = True  # with the continuation seed
    rest = {"seeds": _OPEN, "numerics": dict(plan.numerics)}
    if not arm.continued:
        return {**common, "criterion": NO_CRITERION, "epochs": 0, **rest}
    criterion, recipe = configured(own, arm, params)
    return {**common, "augmentation": asdict(plan.augmentation), "criterion": criterion, **asdict(recipe), **rest}


class _Template:
    """A training that lacks what tells runs of one kind apart: seeds, and the base that is continued.

    Specs of one template share the rest, and its text, most of what an identity is the hash of, is written once: a
    study of ten thousand runs asks for them all whenever it is looked at.
    """

    def __init__(self, training: Mapping[str, Any]) -> None:
        self._training = training
        self._texts = {name: canonical(value) for name, value in training.items() if value is not _OPEN}

    def filled(self, **values: Any) -> tuple[dict[str, Any], str]:
        """The training with what was left open, and its identity."""
        training = {**self._training, **values}
        return training, training_identity(training, self._texts)


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


def tune_specs(plan: Plan, arm: Arm, params: Mapping[str, float]) -> Sequence[RunSpec]:
    """The runs of one trial."""
    return _over_seeds(plan, arm, params, Phase.TUNE)


def confirm_specs(plan: Plan, arm: Arm, params: Mapping[str, float]) -> Sequence[RunSpec]:
    """The runs on which an arm's winner is judged."""
    return _over_seeds(plan, arm, params, Phase.CONFIRM)


def required_evaluations(plan: Plan, phase: Phase) -> tuple[EvaluationRequest, ...]:
    """What a run of this phase must be evaluated on: the objective on validation, or everything on test."""
    if phase not in plan.memo:
        objective = plan.tune.objective.split("/")[0]
        wanted = [e for e in plan.evaluations if phase is Phase.CONFIRM or e.name == objective]
        plan.memo[phase] = tuple(evaluation_request(e, TRAINED_SPLITS[phase]) for e in wanted)
    found: tuple[EvaluationRequest, ...] = plan.memo[phase]
    return found


def _over_seeds(plan: Plan, arm: Arm, params: Mapping[str, float], phase: Phase) -> Sequence[RunSpec]:
    key = (phase, id(arm), *params.items())
    if key not in plan.memo:
        template = _Template(_continuation(plan, arm, params, phase))
        base_seeds = (plan.tune if phase is Phase.TUNE else plan.confirm).base_seeds
        seeds = itertools.product(base_seeds, plan.continuation_seeds(arm, phase))
        specs = tuple(_run_spec(plan, arm, template, base, own, phase) for base, own in seeds)
        plan.memo[key] = arm, specs  # with the arm, so that its id stays its own
    found: tuple[RunSpec, ...] = plan.memo[key][1]
    return found


def _substrate(plan: Plan) -> dict[str, Any]:
    return {name: asdict(getattr(plan, name)) for name in ("dataset", "method", "backbone")}
