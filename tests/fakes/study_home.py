"""A synthetic study directory in the true format: real plan, specs, journals and records, no training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from study.journal.events import EventWriter
from study.journal.files import create_once, link_once, write_json
from study.paths import RunPaths, StudyPaths
from study.plan.expand import confirm_specs, inherited, required_evaluations, tune_specs
from study.plan.model import SCHEMA_VERSION, Arm, Component, Confirm, Phase, Plan, PlannedEvaluation, Recipe, Tune
from study.plan.space import FloatRange
from study.plan.spec import RunSpec

Value = Callable[[str, int, str], float]  # (arm, base seed, `<evaluation>/<metric>`) → percent
LR = "continuation.optimizer.lr"
NUM_STEPS, CHECKPOINT_STEP = 8, 4
CPU_S = 10.0  # of every attempt
START_T = 1_763_800_000.0  # 2025-11-22 08:26:40 UTC
STARTED = {"t": START_T, "commit": "c0ffee", "dataset_fingerprint": "da7a", "cpu_model": "a CPU"}
_SHARED = {LR: FloatRange(3e-4, 3e-3, log=True)}
_WEIGHT = FloatRange(0.01, 100.0, log=True)
METRICS = {
    "linear_probe": ("top1_1pct", "top1_10pct", "top1_100pct", "top1_mean"),
    "knn": ("top1",),
    "emb": ("entropy_mean",),
}


def make_plan(**changes: object) -> Plan:
    """A plan with seven arms like the embedded study's; `changes` replace its fields."""
    e2mc = _arm("e2mc", "e2mc", entropy_weight=0.5, covariance_weight=0.5)
    optimizer = {"name": "adamw", "lr": 1e-3, "weight_decay": 1e-4, "schedule": "constant", "state": "reset"}
    plan = Plan(
        study="toy",
        question="Does it help?",
        dataset=Component("fashion_mnist", {"num_ssl_images": 1000, "num_validation_images": 500}),
        method=Component("simsiam", {"projection_dim": 256}),
        backbone=Component("conv_fc", {}),
        augmentation=Component("small_images", {}),
        pretraining=Recipe(2, 250, optimizer),
        continuation=Recipe(2, 250, optimizer),
        arms=(
            Arm("base", continued=False, criterion=Component("none")),
            _arm("continued", "none"),
            e2mc,
            without(e2mc, "entropy"),
            without(e2mc, "covariance"),
            _arm("uniformity", "uniformity", weight=0.5),
            _arm("mmcr", "mmcr", weight=0.1),
        ),
        reference="continued",
        unit="base",
        contrasts=(
            ("e2mc", "continued"), ("e2mc", "base"), ("e2mc", "e2mc-no-entropy"),
            ("e2mc", "e2mc-no-covariance"), ("uniformity", "continued"), ("mmcr", "continued"),
        ),
        evaluations=(
            PlannedEvaluation("linear_probe", {"label_percent": (1, 10, 100)}),
            PlannedEvaluation("knn", {"num_neighbours": 20}),
        ),
        primary="linear_probe/top1_mean",
        equivalence_margin_pp=0.5,
        tune=Tune("linear_probe/top1_mean", 2, (101,), (1,), "tpe"),
        confirm=Confirm((1, 2, 3, 4, 5), (1,)),
        numerics={"num_threads": 1, "dtype": "float32", "deterministic": True},
    )  # fmt: skip
    return replace(plan, **changes)  # type: ignore[arg-type]


def without(parent: Arm, component: str, *, inherits: bool = False) -> Arm:
    """The ablation of `parent` that leaves `component` out."""
    gone = f"criterion.{component}_weight"
    return replace(
        parent,
        name=f"{parent.name}-no-{component}",
        criterion=Component(parent.criterion.name, {**parent.criterion.params, f"{component}_weight": 0.0}),
        space={name: r for name, r in parent.space.items() if name != gone},
        start={name: v for name, v in parent.start.items() if name != gone},
        parent=parent.name,
        dropped=(component,),
        inherits=inherits,
    )


def paired_of(spec: RunSpec) -> dict[str, Any]:
    """What a run keeps of what it saw: hashes that are functions of its seeds."""
    base, both = spec.labels["base_seed"], (spec.labels["base_seed"], spec.labels["continuation_seed"])
    found: dict[str, Any] = {name: _sha256("weights", base) for name in ("base_weights", "loaded_weights")}
    if spec.training["epochs"]:
        found |= {name: _sha256(name, *both) for name in ("order", "augmentation", "rows", "views")}
        found |= {"loaded_moments": "", "sketch": [0.25, -1.0, float(both[0]), float(both[1])]}
        found |= {"first_step": 1, "last_step": NUM_STEPS, "num_view_steps": 4}
    return found


def looked_at(spec: RunSpec, key: str) -> dict[str, str]:
    """What an evaluation keeps of what it looked at."""
    seeds = (spec.labels["base_seed"], spec.labels["continuation_seed"] if spec.training.get("labels_vary") else 0)
    return {name: _sha256(name, key, *seeds) for name in ("labels_sha256", "images_sha256")}


def _sha256(*keys: object) -> str:
    return hashlib.sha256(repr(keys).encode()).hexdigest()


def _arm(name: str, criterion: str, **weights: float) -> Arm:
    weight = _WEIGHT if criterion != "mmcr" else replace(_WEIGHT, low=0.001)  # no value in common with uniformity's
    space = {**{f"criterion.{w}": weight for w in weights}, **_SHARED}
    start = {**{f"criterion.{w}": v for w, v in weights.items()}, LR: 1e-3}
    return Arm(name, continued=True, criterion=Component(criterion, weights), space=space, start=start)


def trial_params(arm: Arm, number: int) -> dict[str, float]:
    """What trial `number` of an arm's search tries: the start, then ever smaller values."""
    return {name: value * 0.9**number for name, value in arm.start.items()}


@dataclass
class StudyHome:
    """Builds one study directory, run by run.

    Attributes:
        root: the study's directory; created by `build`.
        plan: what is written to plan.json.
        value: the test accuracy of a run, averaged over its continuation seeds.
        continuation_spread: runs of one base differ by this much from one continuation seed to the next.
        objectives: validation objective of each trial, by number; the same for all arms.
    """

    root: Path
    plan: Plan = field(default_factory=make_plan)
    value: Value = lambda arm, base_seed, metric: 70.0
    continuation_spread: float = 0.0
    objectives: tuple[float, ...] = (60.0, 61.0)

    def build(self, *, skip: Callable[[RunSpec], bool] = lambda spec: False) -> StudyHome:
        """Write the plan, the finished searches, and all confirm runs but those that `skip` picks."""
        self.write_plan()
        for arm in self.plan.arms:
            self.write_search(arm)
            for spec in confirm_specs(self.plan, arm, self.winner(arm)):
                if not skip(spec):
                    self.write_run(spec)
        return self

    def write_plan(self) -> None:
        """Write plan.json alone: a study that has just begun."""
        self.root.mkdir(parents=True, exist_ok=True)
        write_json(StudyPaths(self.root).plan, self.plan.as_json())

    def winner(self, arm: Arm) -> dict[str, float]:
        """Parameters of the best trial, the first of equals."""
        if not arm.continued:
            return {}
        if arm.inherits and arm.parent:
            return inherited(arm, self.winner(self.plan.arm(arm.parent)))
        return trial_params(arm, self.objectives.index(max(self.objectives)))

    def write_search(self, arm: Arm) -> None:
        """Write the trial records of an arm and their runs."""
        for number, objective in enumerate(self.objectives if arm.is_tuned else ()):
            specs = tune_specs(self.plan, arm, trial_params(arm, number))
            for spec in specs:
                self.write_run(spec)
            self.write_trial(arm.name, number, "complete", objective, [spec.run_id for spec in specs])

    def write_trial(
        self, arm: str, number: int, state: str, objective: float | None, run_ids: list[str] | None = None
    ) -> None:
        """Write one trial record."""
        path = StudyPaths(self.root).trial(arm, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {"arm": arm, "number": number, "params": trial_params(self.plan.arm(arm), number)}
        write_json(
            path,
            {
                "schema_version": SCHEMA_VERSION,
                **record,
                "run_ids": run_ids or [],
                "state": state,
                "objective": objective,
            },
        )

    def start_run(self, spec: RunSpec) -> RunPaths:
        """Write a run's spec and the job of its first attempt."""
        run = StudyPaths(self.root).run(spec.run_id)
        run.attempt(1).root.mkdir(parents=True)
        write_json(run.spec, spec.as_json())
        write_json(run.attempt(1).job, {"schema_version": SCHEMA_VERSION})
        return run

    def write_run(self, spec: RunSpec, *, code: str = "c0de") -> RunPaths:
        """Write a run that finished in its first attempt, evaluated as its phase asks for."""
        run = self.start_run(spec)
        attempt, phase = run.attempt(1), Phase(spec.labels["phase"])
        create_once(attempt.claim, {"pid": 1})
        weights = hashlib.sha256(spec.run_id.encode()).hexdigest()
        with EventWriter(attempt.events) as events:
            events.append("started", attempt=1, num_steps=NUM_STEPS, resumed_step=0, **STARTED)
            for step in range(1, NUM_STEPS + 1):
                events.append("step", step=step, metrics={"train/loss": 1.0 / step})
                if step == CHECKPOINT_STEP:
                    events.append("checkpoint", step=step)
            write_json(
                attempt.trained,
                {"schema_version": SCHEMA_VERSION, "attempt": 1, "step": NUM_STEPS, "weights_sha256": weights,
                 "code": code, "cpu_s": 8.0, "wall_s": 8.0, "paired": paired_of(spec)},
            )  # fmt: skip
            link_once(attempt.trained, run.trained)
            events.append("trained", step=NUM_STEPS)
            run.evaluations.mkdir()
            for request in required_evaluations(self.plan, phase):
                evaluation = request.evaluation
                metrics = self._metrics(spec, evaluation.name)
                create_once(
                    run.evaluations / f"{request.key}.json",
                    {"schema_version": SCHEMA_VERSION,
                     "evaluation": evaluation.as_json(),
                     "split": request.split, "weights_sha256": weights, "metrics": metrics, "unit": "percent",
                     "cpu_s": 1.0, "t": 0.0, "attempt": 1, **looked_at(spec, request.key)},
                )  # fmt: skip
                events.append("evaluated", key=request.key)
            events.append("finished", cpu_s=CPU_S)
        return run

    def write_failed_run(self, spec: RunSpec, kind: str = "diverged") -> RunPaths:
        """Write a run whose only attempt failed half-way."""
        run = self.start_run(spec)
        create_once(run.attempt(1).claim, {"pid": 1})
        with EventWriter(run.attempt(1).events) as events:
            events.append("started", attempt=1, num_steps=NUM_STEPS, resumed_step=0)
            events.append("step", step=1, metrics={"train/loss": 1.0})
            events.append("failed", kind=kind, message="loss is nan", cpu_s=CPU_S)
        return run

    def confirm_spec(self, arm: str, base_seed: int, params: Mapping[str, float] | None = None) -> RunSpec:
        """The confirm run of an arm and base, first continuation seed; by default the winner's parameters."""
        chosen = self.winner(self.plan.arm(arm)) if params is None else params
        specs = confirm_specs(self.plan, self.plan.arm(arm), chosen)
        return next(spec for spec in specs if spec.labels["base_seed"] == base_seed)

    def _metrics(self, spec: RunSpec, evaluation: str) -> dict[str, float]:
        labels = spec.labels
        seeds = (
            self.plan.confirm.continuation_seeds if labels["phase"] == Phase.CONFIRM else (labels["continuation_seed"],)
        )
        shift = 0.0
        if self.plan.arm(labels["arm"]).continued:
            centred = labels["continuation_seed"] - sum(seeds) / len(seeds)
            shift = self.continuation_spread * centred
        metrics = {
            metric: self.value(labels["arm"], labels["base_seed"], f"{evaluation}/{metric}") + shift
            for metric in METRICS[evaluation]
        }
        name, _, metric = self.plan.tune.objective.partition("/")
        if labels["phase"] == Phase.TUNE and name == evaluation:
            arm = self.plan.arm(labels["arm"])
            for number, objective in enumerate(self.objectives):
                if spec.run_id in {one.run_id for one in tune_specs(self.plan, arm, trial_params(arm, number))}:
                    metrics[metric] = objective
        return metrics
