"""The loop: observe, decide, act, until nothing is left to do. It may die at any instant; starting again carries on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from study.execution.base import Executor, belongs_to_another
from study.orchestration import actions
from study.orchestration.decide import Ask, Situation, Submit, Tell, decide, evaluations_for, known_specs
from study.orchestration.lease import Lease
from study.orchestration.progress import Progress
from study.orchestration.snapshot import Observer, RunStatus
from study.paths import HomePaths, RunPaths
from study.plan.expand import tune_specs
from study.plan.model import Phase, Plan, RunSpec
from study.search.arm_search import ArmSearch
from study.search.trial import Trial

_POLL_S = 0.2
_STOP_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Settings:
    """What the orchestrator needs to know beyond the plan; none of it is part of any identity."""

    data_folder: Path
    checkpoint_every_s: float = 30.0


class Orchestrator:
    """Runs one study to its end."""

    def __init__(
        self, plan: Plan, home: HomePaths, executor: Executor, lease: Lease, settings: Settings,
        show: Callable[[Progress], None],
    ) -> None:  # fmt: skip
        """Open the searches and make sure that no attempt of a dead orchestrator can still start."""
        self._plan, self._home, self._executor, self._lease = plan, home, executor, lease
        self._settings, self._show = settings, show
        self._study = home.study(plan.study)
        self._observer = Observer(executor.is_alive)
        self._study.search.mkdir(exist_ok=True)
        self._searches = {
            arm.name: ArmSearch(
                log=self._study.search_log(arm.name),
                study=plan.study,
                arm=arm.name,
                space=arm.space,
                start=arm.start,
                sampler=plan.tune.sampler,  # type: ignore[arg-type]
                records=actions.read_trials(self._study, arm.name),
            )
            for arm in plan.arms
            if arm.is_tuned
        }
        self._trials: dict[str, list[Trial]] = {}
        for name in self._searches:
            self._record_trials(name)
        self._specs = list(known_specs(plan, self._trials))
        actions.revoke_orphans([self._paths(spec, phase) for spec, phase in self._specs])

    def run(self) -> Progress:
        """Go on until every run is complete, failed or infeasible, or the study's stop file appears."""
        idle_at: list[RunStatus] | None = None
        while True:
            self._lease.beat()
            progress = self._observe()
            self._show(progress)
            if self._study.stop.exists():
                return self.stop()
            statuses = [view.status for _, _, view in progress.runs.values()]
            if statuses == idle_at:  # nothing has happened since there was nothing to do
                time.sleep(_POLL_S)
                continue
            todo = decide(self._plan, self._situation(progress))
            for action in todo:
                self._act(action)
            if todo:
                self._specs = list(known_specs(self._plan, self._trials))
            elif not progress.count(RunStatus.ACTIVE):
                return progress
            idle_at = None if todo else statuses

    def stop(self) -> Progress:
        """Ask what runs to save and leave, and wait for it; Ctrl-C ends the waiting."""
        deadline = time.monotonic() + _STOP_PATIENCE_S
        told = set()
        try:
            while True:
                self._lease.beat()
                progress = self._observe(is_stopping=True)
                self._show(progress)
                ours = [(run, a) for run, a in self._observer.active() if not belongs_to_another(a)]
                if not ours or time.monotonic() > deadline:
                    return progress
                for run, attempt in ours:
                    if attempt.claim is not None and run not in told:  # else it is just being forked
                        told.add(run)
                        self._executor.stop(attempt)
                time.sleep(_POLL_S)
        except KeyboardInterrupt:
            return self._observe(is_stopping=True)

    def _observe(self, *, is_stopping: bool = False) -> Progress:
        runs = {}
        for spec, phase in self._specs:
            keys = [request.key for request in evaluations_for(self._plan, phase)]
            runs[spec.run_id] = (spec, phase, self._observer.view(self._paths(spec, phase), keys))
        return Progress(runs, self._trials, is_stopping)

    def _situation(self, progress: Progress) -> Situation:
        views = {run_id: view for run_id, (_, _, view) in progress.runs.items()}
        return Situation(self._trials, views, self._executor.slots - progress.count(RunStatus.ACTIVE))

    def _act(self, action: Submit | Ask | Tell) -> None:
        match action:
            case Submit(spec, evaluations):
                phase = Phase(spec.labels["phase"])
                actions.submit(
                    self._home, self._paths(spec, phase), spec, evaluations, self._executor,
                    data_folder=self._settings.data_folder, checkpoint_every_s=self._settings.checkpoint_every_s,
                )  # fmt: skip
            case Ask(arm):
                self._searches[arm].ask()
                self._record_trials(arm)
            case Tell(arm, number, state, objective):
                self._searches[arm].tell(number, objective, state)
                self._record_trials(arm)

    def _record_trials(self, arm: str) -> None:
        trials = self._searches[arm].trials()
        for trial in trials:
            run_ids = [spec.run_id for spec in tune_specs(self._plan, self._plan.arm(arm), trial.params)]
            actions.write_trial(self._study, arm, trial, run_ids)
        self._trials[arm] = trials

    def _paths(self, spec: RunSpec, phase: Phase) -> RunPaths:
        return self._home.run_of(self._plan.study, spec.run_id, phase)
