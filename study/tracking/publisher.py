"""One pass over a study's journals: what a tracker does not have yet is copied to it.

`published.json` beside each run says how far which store has got, and is written after the copying. A killed
pass is repeated: the run is found again by its tag, and equal rows are the same rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TypeVar

from study.errors import JournalError
from study.journal.files import read_json, read_json_or_none, write_json
from study.journal.replay import replay_run
from study.paths import HomePaths, RunPaths, StudyPaths
from study.plan.expand import base_spec
from study.plan.model import Plan
from study.plan.spec import RunSpec
from study.tracking import describe
from study.tracking.base import Experiment, RejectedError, RunStatus, Tracker, UnknownRunError
from study.tracking.progress import Progress, glance, only_publisher

BASES_EXPERIMENT = "bases"

T = TypeVar("T")


@dataclass
class PublishSummary:
    """What a pass did.

    Attributes:
        num_published: runs that were written to.
        num_unchanged: runs that were left alone.
        num_metrics: rows that were sent.
        problems: what could not be published, and why; the rest was.
        is_complete: False when there is no plan yet, the pass was interrupted, or another publisher works.
    """

    num_published: int = 0
    num_unchanged: int = 0
    num_metrics: int = 0
    problems: list[str] = field(default_factory=list)
    is_complete: bool = True


def publish(
    home: HomePaths, study: str, tracker: Tracker, *, interrupted: Callable[[], bool] = lambda: False
) -> PublishSummary:
    """Publish what is new; doing it again changes nothing.

    Args:
        home: the study home.
        study: name of the study, and of its experiment.
        tracker: where to.
        interrupted: asked between runs; the pass ends early when it is true.

    Raises:
        TrackerError: the tracker does not work.
    """
    return _Pass(home, study, tracker, interrupted).run()


def publish_study(home: HomePaths, study: str, tracker: Tracker) -> PublishSummary:
    """Publish the run that stands for the study, with its plan, frames and report, and no other run.

    Raises:
        TrackerError: the tracker does not work.
    """
    return _Pass(home, study, tracker, lambda: False).run_study()


class _Pass:
    def __init__(self, home: HomePaths, study: str, tracker: Tracker, interrupted: Callable[[], bool]) -> None:
        self._home = home
        self._paths = home.study(study)
        self._tracker = tracker
        self._interrupted = interrupted
        self._summary = PublishSummary()
        self._newest_s = 0.0  # when the newest event of what was published happened

    def run(self) -> PublishSummary:
        if not self._paths.plan.exists():
            self._summary.is_complete = False
            return self._summary
        plan = Plan.from_json(read_json(self._paths.plan))
        with only_publisher(self._paths.root) as is_alone:
            if is_alone:
                experiment = self._tracker.ensure_experiment(plan.study)
                parent = self._publish_study(plan, experiment)
                self._publish_runs(self._paths.existing_runs(), experiment, parent)
                if parent is not None and self._newest_s:
                    self._tracker.set_tags(parent, {describe.NEWEST_TAG: repr(self._newest_s)})
            self._summary.is_complete &= is_alone
        bases = [base for base in _bases(self._home, plan) if base.spec.exists()]
        if bases:
            with only_publisher(self._home.bases) as is_alone:
                if is_alone:
                    self._publish_runs(bases, self._tracker.ensure_experiment(BASES_EXPERIMENT), None)
                self._summary.is_complete &= is_alone
        return self._summary

    def run_study(self) -> PublishSummary:
        plan = Plan.from_json(read_json(self._paths.plan))
        with only_publisher(self._paths.root) as is_alone:
            if is_alone:
                self._publish_study(plan, self._tracker.ensure_experiment(plan.study))
            self._summary.is_complete &= is_alone
        return self._summary

    def _publish_study(self, plan: Plan, experiment: Experiment) -> str | None:
        """Publish the run that stands for the study; return its id."""
        progress = Progress.read(self._paths.published, experiment.store)
        try:
            return _or_anew(partial(_publish_study, self._paths, plan, experiment, self._tracker), progress)
        except RejectedError as error:
            self._summary.problems.append(f"{self._paths.root}: {error}")
            return progress.tracked_run if progress else None

    def _publish_runs(self, runs: Iterable[RunPaths], experiment: Experiment, parent: str | None) -> None:
        for paths in runs:
            if self._interrupted():
                self._summary.is_complete = False
                return
            progress = Progress.read(paths.published, experiment.store)
            seen = glance(paths)
            if progress is not None and progress.seen == seen:
                self._summary.num_unchanged += 1
                continue
            try:
                publish_run = partial(_publish_run, paths, seen, experiment, parent, self._tracker)
                num_metrics, end_s = _or_anew(publish_run, progress)
                self._summary.num_metrics += num_metrics
                self._newest_s = max(self._newest_s, end_s)
                self._summary.num_published += 1
            except (JournalError, RejectedError, LookupError, TypeError, ValueError) as error:
                # files that are damaged or make no sense must not hold up the other runs
                self._summary.problems.append(f"{paths.root}: {type(error).__name__}: {error}")


def _publish_study(
    paths: StudyPaths, plan: Plan, experiment: Experiment, tracker: Tracker, progress: Progress | None
) -> str:
    if progress is None:
        run = tracker.ensure_run(experiment, plan.study, start_ms=int(paths.plan.stat().st_mtime * 1000), parent=None)
        tracker.log_params(run, describe.study_params(plan))
        tracker.set_tags(run, {"study.study": plan.study, "mlflow.note.content": plan.question})
        progress = Progress(experiment.store, run)
        before = None
    else:
        before = asdict(progress)
    _write_trials(paths, plan)
    frames = (paths.runs_parquet, paths.trials_json, paths.provenance_json)
    for file in (paths.plan_yaml, paths.plan, *frames, *sorted(paths.report.rglob("[!.]*"))):
        name = file.relative_to(paths.root)
        if file.is_file():
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            if progress.artifacts.get(name.as_posix()) != content:
                tracker.log_artifact(progress.tracked_run, file, name.parent.as_posix().removeprefix("."))
                progress.artifacts = {**progress.artifacts, name.as_posix(): content}
    status = RunStatus.FINISHED if paths.finished.exists() else RunStatus.RUNNING
    if progress.status != status:
        end_ms = int(paths.finished.stat().st_mtime * 1000) if status.is_over else 0
        tracker.set_status(progress.tracked_run, status, end_ms)
        progress.status = str(status)
    if asdict(progress) != before:
        progress.write(paths.published)
    return progress.tracked_run


def _write_trials(paths: StudyPaths, plan: Plan) -> None:
    """Collect the records of all trials in one file, so that reading them takes one request."""
    try:
        trials = [read_json(file) for arm in plan.arms for file in paths.trials(arm.name)]
        known = read_json_or_none(paths.trials_json)
    except JournalError:
        return  # whoever needs the trials says so; the runs can be published
    if trials and known != {"trials": trials}:
        paths.trials_json.parent.mkdir(exist_ok=True)
        write_json(paths.trials_json, {"trials": trials})


def _publish_run(
    paths: RunPaths,
    seen: str,
    experiment: Experiment,
    parent: str | None,
    tracker: Tracker,
    progress: Progress | None,
) -> tuple[int, float]:
    """Publish one run; return how many rows were sent, and when its newest event happened."""
    spec = RunSpec.from_json(read_json(paths.spec))
    state = replay_run(paths)
    if progress is None:
        start_s = describe.run_start_s(state) or paths.spec.stat().st_mtime
        run = tracker.ensure_run(experiment, spec.run_id, start_ms=int(start_s * 1000), parent=parent)
        tracker.log_params(run, describe.flattened(spec.training))
        tracker.log_artifact(run, paths.spec)
        progress = Progress(experiment.store, run)
    run = progress.tracked_run
    steps = describe.step_rows(state, progress.step)
    rows = steps + describe.evaluation_rows(state, progress.evaluations)
    tracker.log_metrics(run, rows)
    tracker.set_tags(run, describe.run_tags(spec, state))
    status, end_s = describe.run_status(state), describe.run_end_s(state) or 0.0
    tracker.set_status(run, status, int(end_s * 1000))
    progress.seen = seen
    progress.step = max([progress.step, *(row.step for row in steps)])
    progress.evaluations = sorted({*progress.evaluations, *state.evaluations})
    progress.status = str(status)
    progress.write(paths.published)
    return len(rows), end_s


def _or_anew(publish_to: Callable[[Progress | None], T], progress: Progress | None) -> T:
    """Go on from `progress`, or from nothing when the store has lost the run: an older copy was restored."""
    try:
        return publish_to(progress)
    except UnknownRunError:
        return publish_to(None)


def _bases(home: HomePaths, plan: Plan) -> list[RunPaths]:
    seeds = sorted(plan.base_seeds)
    return [home.base(base_spec(plan, seed).run_id) for seed in seeds]
