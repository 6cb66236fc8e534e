"""Study directories as a worker and an orchestrator write them, without training anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from study.journal.events import EventWriter
from study.journal.files import create_once, link_once, write_json, write_text
from study.paths import AttemptPaths, HomePaths, RunPaths, StudyPaths
from study.plan.expand import base_spec, run_spec
from study.plan.model import Arm, Component, Confirm, Phase, Plan, PlannedEvaluation, Recipe, Tune
from study.plan.space import FloatRange
from study.plan.spec import RunSpec

START_S = 1_763_800_000.0


def small_plan(study: str = "small") -> Plan:
    """A plan with two arms."""
    recipe = Recipe(epochs=2, batch_size=10, optimizer={"name": "adamw", "lr": 1e-3})
    e2mc = Arm(
        name="e2mc",
        continued=True,
        criterion=Component("e2mc", {"entropy_weight": 0.5}),
        space={"criterion.entropy_weight": FloatRange(0.1, 1.0)},
        start={"criterion.entropy_weight": 0.5},
    )
    return Plan(
        study=study,
        question="Does it help?",
        dataset=Component("fashion_mnist", {"num_ssl_images": 100}),
        method=Component("simsiam"),
        backbone=Component("conv_fc"),
        augmentation=Component("small_images"),
        pretraining=recipe,
        continuation=recipe,
        arms=(Arm("continued", True, Component("none")), e2mc),
        reference="continued",
        unit="base",
        contrasts=(("e2mc", "continued"),),
        evaluations=(PlannedEvaluation("knn"),),
        primary="knn/top1",
        equivalence_margin_pp=0.5,
        tune=Tune("knn/top1", 2, (101,), (1,), "tpe"),
        confirm=Confirm((1, 2), (1,)),
        numerics={"num_threads": 1},
    )


@dataclass
class FakeStudy:
    """Writes the files of one study."""

    home: HomePaths
    plan: Plan = field(default_factory=small_plan)

    def __post_init__(self) -> None:
        self.paths.root.mkdir(parents=True, exist_ok=True)
        write_text(self.paths.plan_yaml, f"study: {self.plan.study}\n")
        write_json(self.paths.plan, self.plan.as_json())

    @property
    def paths(self) -> StudyPaths:
        """Files of the study."""
        return self.home.study(self.plan.study)

    def add_run(
        self, arm: str = "e2mc", base_seed: int = 1, continuation_seed: int = 1, start_s: float = START_S
    ) -> FakeRun:
        """A confirming run without attempts."""
        seeds = (base_seed, continuation_seed)
        spec = run_spec(self.plan, self.plan.arm(arm), {}, *seeds, Phase.CONFIRM)
        return FakeRun.create(self.paths.run(spec.run_id), spec, start_s)

    def add_base(self, base_seed: int = 1) -> FakeRun:
        """A base pre-training without attempts."""
        spec = base_spec(self.plan, base_seed)
        return FakeRun.create(self.home.base(spec.run_id), spec)


@dataclass
class FakeRun:
    """Writes the files of one run."""

    paths: RunPaths
    spec: RunSpec
    start_s: float = START_S

    @classmethod
    def create(cls, paths: RunPaths, spec: RunSpec, start_s: float = START_S) -> FakeRun:
        """Write the spec."""
        paths.root.mkdir(parents=True)
        write_json(paths.spec, spec.as_json())
        return cls(paths, spec, start_s)

    def attempt(self, *evaluations: str, resumed_step: int = 0) -> FakeAttempt:
        """The next attempt, started, that was asked for these evaluations."""
        paths = self.paths.attempt(len(self.paths.existing_attempts()) + 1)
        paths.root.mkdir(parents=True)
        request = {"evaluations": [{"key": key} for key in evaluations]}
        write_json(paths.job, {"request": request, "commit": "abc123"})
        create_once(paths.claim, {"pid": 1})
        attempt = FakeAttempt(paths, self.start_s)
        attempt.event("started", attempt=paths.number, resumed_step=resumed_step, commit="abc123")
        return attempt

    def evaluate(self, key: str, metrics: Mapping[str, float], split: str = "test") -> None:
        """Write the file of an evaluation."""
        self.paths.evaluations.mkdir(exist_ok=True)
        evaluation = {"name": key.partition("-")[0], "params": {}}
        content = {"evaluation": evaluation, "split": split, "metrics": dict(metrics), "t": self.start_s + 500}
        create_once(self.paths.evaluations / f"{key}.json", content)

    def finish(self, num_steps: int = 8, num_metrics: int = 2, weights: str = "") -> FakeRun:
        """All that a run does when nothing goes wrong."""
        attempt = self.attempt("knn-test-1a2b3c4d")
        attempt.steps(1, num_steps, num_metrics).trained(num_steps, weights)
        self.evaluate("knn-test-1a2b3c4d", {"top1": 50.0})
        attempt.event("finished")
        return self


@dataclass
class FakeAttempt:
    """Writes the files of one attempt; time passes by 0.1 s from step to step."""

    paths: AttemptPaths
    start_s: float = START_S

    def event(self, event: str, **fields: Any) -> FakeAttempt:
        """Append one event."""
        t = self.start_s + self.paths.number * 100 + 0.1 * fields.get("step", 0)
        with EventWriter(self.paths.events) as events:
            events.append(event, **{"t": t, **fields})
        return self

    def steps(
        self, first: int, last: int, num_metrics: int = 2, metrics: Mapping[str, float] | None = None
    ) -> FakeAttempt:
        """Append the steps from `first` to `last`; metric i of step s is s + i by default."""
        start_s = self.start_s + self.paths.number * 100
        with EventWriter(self.paths.events) as events:
            for step in range(first, last + 1):
                values = metrics or {f"train/metric_{i}": float(step + i) for i in range(num_metrics)}
                events.append("step", t=start_s + 0.1 * step, step=step, metrics=values)
        return self

    def checkpoint(self, step: int) -> FakeAttempt:
        """Append a checkpoint."""
        return self.event("checkpoint", step=step)

    def trained(self, step: int, weights: str = "") -> FakeAttempt:
        """Complete the training."""
        content = {"attempt": self.paths.number, "step": step}
        write_json(self.paths.trained, content | ({"weights_sha256": weights} if weights else {}))
        link_once(self.paths.trained, self.paths.run.trained)
        return self.event("trained", step=step)


def home_in(folder: Path) -> HomePaths:
    """A home in a folder whose name needs quoting."""
    return HomePaths(folder / "study home, 100%")
