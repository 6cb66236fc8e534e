"""The tracked run that stands for a study: plan, frames and report are attached to it, and the runs are below it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

from study.errors import JournalError
from study.journal.files import read_json, read_json_or_none, write_json
from study.paths import StudyPaths
from study.plan.model import Plan
from study.tracking import describe
from study.tracking.base import HOME_TAG, HOST_TAG, PATH_TAG, Experiment, RunStatus, Tracked, Tracker
from study.tracking.glance import version
from study.tracking.identity import Home, instance_of
from study.tracking.progress import StudyProgress
from study.tracking.tracked import Found, ensure_run

_TRIALS = "frames/trials.json"
_COARSE_S = 2.0  # times of folders are as coarse as this on some file systems


def ensure_parent(
    study: StudyPaths, plan: Plan, home: Home, experiment: Experiment, tracker: Tracker, progress: StudyProgress | None
) -> Found:
    """Find the run that stands for the study, or create it.

    A folder that was made anew, and a plan that was replaced before anything was trained, are another study.
    """
    instance = instance_of(study)
    tags = describe.study_tags(plan) | {
        HOME_TAG: home.id,
        HOST_TAG: home.here.host,
        PATH_TAG: home.here.path,
        describe.INSTANCE_TAG: instance,
    }
    known = progress.tracked_run if progress is not None else ""

    def is_ours(run: Tracked) -> bool:
        return experiment.is_own or run.tags.get(HOME_TAG, home.id) == home.id

    def unlike(run: Tracked) -> str:
        if run.tags.get(describe.INSTANCE_TAG, instance) != instance:
            return "the study was made anew"
        others = describe.other_params(run, plan)
        return f"the plan has another {', '.join(others)}" if others else ""

    found = ensure_run(
        tracker,
        experiment,
        plan.study,
        start_ms=int(study.plan.stat().st_mtime * 1000),
        tags=tags,
        is_ours=is_ours,
        unlike=unlike,
        known=known,
    )
    if found.run.id != known:
        tracker.log_params(found.run.id, describe.study_params(plan))
    changed = {key: value for key, value in tags.items() if found.run.tags.get(key) != value}
    if changed and not found.is_new:
        tracker.set_tags(found.run.id, changed)
    return found


def attach(
    study: StudyPaths,
    plan: Plan,
    experiment: Experiment,
    run: Tracked,
    tracker: Tracker,
    progress: StudyProgress,
    *,
    is_thorough: bool,
) -> list[str]:
    """Attach what is new, and what was lost, which only a thorough pass sees; return the names of what was lost."""
    attached = tracker.attached(experiment, run.id) if is_thorough else None
    lost = [] if attached is None else sorted(progress.artifacts.keys() - attached)
    for name in lost:
        del progress.artifacts[name]
        progress.sizes.pop(name, None)
    _write_trials(study, plan, progress)
    for file in _files(study):
        name, size = file.relative_to(study.root).as_posix(), version(str(file))
        if progress.sizes.get(name) != size:
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            if progress.artifacts.get(name) != content:
                folder = Path(name).parent.as_posix().removeprefix(".")
                tracker.log_artifact(experiment, run.id, file, folder)
                progress.artifacts[name] = content
            progress.sizes[name] = size
            if file == study.runs_parquet:
                progress.is_outdated, progress.framed = False, frame_key(study, progress)
    status = RunStatus.FINISHED if study.finished.exists() else RunStatus.RUNNING
    if not status == progress.status == run.status:
        end_ms = int(study.finished.stat().st_mtime * 1000) if status.is_over else 0
        tracker.set_status(run.id, status, end_ms)
        progress.status = str(status)
    return lost


def wants_frame(study: StudyPaths) -> bool:
    """Whether the attached table of all runs is older than what has been published."""
    progress = StudyProgress.read(study.published)
    return progress is not None and progress.framed != frame_key(study, progress)


def frame_key(study: StudyPaths, progress: StudyProgress) -> str:
    """Changes when a table of all runs that was made then would be another one now."""
    past = version(str(study.aside))
    return f"{progress.state} {version(str(study.plan))} {past} {progress.artifacts.get(_TRIALS, '')}"


def _files(study: StudyPaths) -> Iterator[Path]:
    """What is attached, as far as it exists."""
    files = (study.plan_yaml, study.plan, study.trials_json, study.runs_parquet, study.provenance_json)
    yield from (file for file in (*files, *sorted(study.report.rglob("[!.]*"))) if file.is_file())


def _write_trials(study: StudyPaths, plan: Plan, progress: StudyProgress) -> None:
    """Collect the records of all trials in one file, so that reading them takes one request."""
    folders = [study.trial(arm.name, 0).parent for arm in plan.arms]
    stamp = " ".join(version(str(folder)) for folder in folders)
    if progress.sizes.get("search") == stamp and study.trials_json.exists():
        return
    now_s = time.time()
    try:
        trials = [read_json(file) for arm in plan.arms for file in study.trials(arm.name)]
        known = read_json_or_none(study.trials_json)
    except JournalError:
        return  # whoever needs the trials says so; the runs can be published
    if trials and known != {"trials": trials}:
        study.trials_json.parent.mkdir(exist_ok=True)
        write_json(study.trials_json, {"trials": trials})
    if all(now_s - folder.stat().st_mtime > _COARSE_S for folder in folders if folder.exists()):
        progress.sizes["search"] = stamp  # later changes will have a later time
