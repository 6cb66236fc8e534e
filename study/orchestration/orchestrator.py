"""The loop: observe, decide, act, until nothing is left to do. It may die at any instant; starting again carries on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from study.execution.base import Executor, belongs_to_another
from study.journal.endings import Ending, EndKind
from study.journal.heartbeat import Heartbeat
from study.journal.replay import AttemptState
from study.orchestration import actions
from study.orchestration.decide import Ask, Situation, Submit, Tell, decide, evaluations_for, known_specs
from study.orchestration.hang import HangWatch
from study.orchestration.lease import Lease
from study.orchestration.ledger import Ledger
from study.orchestration.progress import Progress
from study.orchestration.reuse import TrainedRuns
from study.orchestration.rounds import Rounds
from study.orchestration.snapshot import Observer, RunStatus, RunView
from study.orchestration.stop import is_urgent
from study.paths import AttemptPaths, HomePaths, RunPaths
from study.plan.expand import tune_specs
from study.plan.model import Phase, Plan
from study.plan.spec import RunSpec
from study.search.arm_search import ArmSearch
from study.search.trial import Trial

_POLL_S = 0.2
_STOP_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Settings:
    """What the orchestrator needs to know beyond the plan; none of it is part of any identity.

    Attributes:
        data_folder: the dataset.
        checkpoint_every_s: seconds between two checkpoints.
        num_processes: processes that train one run together.
        log_every: steps between two that journals keep; None: as many as the length of the run asks for.
        hang_patience_s: seconds without a step after which a training counts as hung, at least.
        quiet_patience_s: seconds without a sign of work after which what is no training does.
        site_file: the site file of the command, for advice.
        reuse: whether equal runs of other studies are taken over instead of being repeated.
        evaluation_folders: folders of evaluations that have a dataset of their own, by name.
        max_hours: stop gracefully when the study's attempts have kept slots busy for so many hours in all.
    """

    data_folder: Path
    checkpoint_every_s: float = 30.0
    hang_patience_s: float = 600.0
    quiet_patience_s: float = 1800.0
    site_file: Path | None = None
    reuse: bool = True
    max_hours: float | None = None
    num_processes: int = 1
    log_every: int | None = None
    evaluation_folders: Mapping[str, Path] = field(default_factory=dict)


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
        self._observer = Observer(executor.is_alive, partial(actions.settle, executor), settings.site_file)
        self._hang_watch = HangWatch(settings.hang_patience_s, settings.quiet_patience_s)
        self._trained = TrainedRuns(home, plan.study) if settings.reuse else None
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
        executor.poll()
        self._keys = {phase: frozenset(request.key for request in evaluations_for(plan, phase)) for phase in Phase}
        self._ledger, self._rounds = Ledger(plan), Rounds()
        self._learn()

    @property
    def ledger(self) -> Ledger:
        """What is known of runs."""
        return self._ledger

    def run(self) -> Progress:
        """Go on until every run is complete, failed or infeasible, or the study's stop file appears."""
        idle_at: int | None = None
        while True:
            self._lease.beat()
            progress = self._observe()
            self._show(progress)
            if self._study.stop.exists():
                return self.stop(now=is_urgent(self._study))
            if self._settings.max_hours is not None and progress.spent_s() >= 3600 * self._settings.max_hours:
                return replace(self.stop(), is_over_budget=True)
            if (reason := self._executor.closed()) is not None and self._has_work(progress):
                return replace(self.stop(), halted=reason)
            if self._ledger.version == idle_at:  # nothing has happened since there was nothing to do
                time.sleep(_POLL_S)
                continue
            todo = decide(self._plan, self._situation(progress))
            for action in todo:
                self._act(action)
            if not all(isinstance(action, Submit) for action in todo):
                self._learn()
            if not todo and not progress.count(RunStatus.ACTIVE):
                return progress
            idle_at = None if todo else self._ledger.version

    def stop(self, *, now: bool = False) -> Progress:
        """Ask what runs to save and leave, and wait for it; Ctrl-C ends the waiting. `now` kills it instead.

        Returns:
            What was seen at last: what is active there goes on.
        """
        deadline = time.monotonic() + _STOP_PATIENCE_S
        told, is_cancelled = set[RunPaths](), False
        try:
            while True:
                self._lease.beat()
                progress = self._observe(is_stopping=True)
                self._show(progress)
                ours = [(run, a) for run, a in self._observer.active() if not belongs_to_another(a)]
                if not ours or time.monotonic() > deadline:
                    return progress
                end = self._kill if now else self._executor.stop
                told.update(r for r, a in ours if r not in told and end(r.attempt(a.number), a))
                if now and not is_cancelled:
                    self._executor.cancel()
                    is_cancelled = True
                time.sleep(_POLL_S)
        except KeyboardInterrupt:
            return self._observe(is_stopping=True)

    def _kill(self, paths: AttemptPaths, attempt: AttemptState) -> bool:
        """End an attempt at once, and keep that this was wanted; False: it has only just begun, try again."""
        if attempt.claim is None:
            return self._executor.stop(paths, attempt)
        actions.write_verdict(paths, Ending(EndKind.STOPPED, "asked to stop at once"))
        self._executor.kill(attempt)
        return True

    def _has_work(self, progress: Progress) -> bool:
        """Whether something runs, or would be started if it could."""
        could = replace(self._situation(progress), num_free_slots=1)
        return progress.count(RunStatus.ACTIVE) > 0 or bool(decide(self._plan, could))

    def _observe(self, *, is_stopping: bool = False) -> Progress:
        news = self._executor.poll()
        self._rounds.tell(run.root.name for run, a in self._observer.active() if self._executor.has_ended(a))
        if is_stopping:
            self._rounds.tell(self._ledger.active)
        for run_id in self._rounds.due(self._ledger.active, self._ledger.lacking_bases):
            self._look(run_id)
        self._observer.sum_up()
        return Progress(self._ledger, self._trials, is_stopping, tuple(news))

    def _look(self, run_id: str) -> None:
        """Look at one run."""
        spec, phase, _ = self._ledger.entries[run_id]
        run = self._paths(spec, phase)
        view = self._observer.view(run, self._keys[phase])
        self._ledger.update(run_id, view)
        attempt = self._observer.active_attempt(run)
        if attempt is not None:
            self._look_for_hang(run, attempt, view)

    def _learn(self) -> None:
        """Look at what has become known: first everything, later runs of new trials and of arms that are decided."""
        found = known_specs(self._plan, self._trials)
        new = [(spec, phase) for spec, phase in found if spec.run_id not in self._ledger]
        runs = [(self._paths(spec, phase), self._keys[phase]) for spec, phase in new]
        views = self._observer.first_views(runs, partial(actions.revoke_orphans, self._executor))
        for (spec, phase), view in zip(new, views, strict=True):
            self._ledger.add(spec, phase, view)

    def _look_for_hang(self, run: RunPaths, attempt: AttemptState, view: RunView) -> None:
        """End an attempt that makes no progress; its successor may start before its process is gone."""
        is_paused = view.beat is None or self._executor.is_paused(attempt)
        complaint = self._hang_watch.complaint((run, attempt.number), view.beat or Heartbeat(), is_paused=is_paused)
        if complaint is None:
            return
        actions.write_verdict(run.attempt(attempt.number), Ending(EndKind.HUNG, complaint))
        self._observer.forget(run)
        self._executor.kill(attempt)

    def _situation(self, progress: Progress) -> Situation:
        return Situation(self._trials, self._ledger, self._executor.capacity - progress.count(RunStatus.ACTIVE))

    def _act(self, action: Submit | Ask | Tell) -> None:
        match action:
            case Submit(spec, evaluations, pruning):
                phase = Phase(spec.labels["phase"])
                run = self._paths(spec, phase)
                self._rounds.tell([spec.run_id])
                num_seen = None
                if phase is Phase.PREPARE:
                    self._look(spec.run_id)
                    num_seen = self._ledger[spec.run_id].num_attempts
                    if self._ledger.status(spec.run_id) is not RunStatus.WAITING:
                        return  # another study of the home has seen to it
                if phase is not Phase.PREPARE and self._trained and self._trained.take_over(run, spec, evaluations):
                    return
                actions.submit(
                    self._home, run, spec, evaluations, self._executor,
                    study=self._plan.study, data_folder=self._settings.data_folder,
                    checkpoint_every_s=self._settings.checkpoint_every_s,
                    num_processes=self._settings.num_processes, pruning=pruning, log_every=self._settings.log_every,
                    evaluation_folders=self._settings.evaluation_folders, num_seen=num_seen,
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
