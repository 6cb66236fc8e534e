"""Acting: idempotent steps on the study's files. Intent is written before a side effect, acknowledgement after it."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from study.errors import HomeError
from study.execution.base import Executor
from study.journal.endings import Ending
from study.journal.files import create_once, read_json, read_json_or_none, write_json, write_text
from study.journal.process import is_alive, is_on_this_host, this_process
from study.journal.replay import AttemptState, AttemptStatus, RunState
from study.orchestration.amendments import amended, is_amendment
from study.orchestration.aside import REPLACED, set_aside
from study.orchestration.code import code_for
from study.paths import AttemptPaths, HomePaths, RunPaths, StudyPaths
from study.plan.model import SCHEMA_VERSION, Plan
from study.plan.spec import EvaluationRequest, RunSpec
from study.search.trial import Trial, TrialState


def store_plan(study: StudyPaths, plan: Plan, text: str) -> str | None:
    """Keep the sweep file verbatim and the resolved plan.

    A stored plan of which nothing has been trained is replaced by its correction, and moved aside.

    Returns:
        What to say about seeds that were added, or about a plan that was replaced.

    Raises:
        HomeError: the folder holds another plan, of which something has been trained; shows the difference.
    """
    old = read_json_or_none(study.plan)
    note = None
    if old is not None and (difference := _plan_difference(old, plan)) and not has_trained(study):
        paths = [study.plan, study.plan_yaml, study.runs, study.search]
        folder = set_aside(study, paths, kind=REPLACED, what=difference)
        note = f"The plan of {plan.study}, of which nothing had been trained, is replaced; it is in {folder} now"
        old = None
    check_plan(study, plan)
    if old is not None:
        before = Plan.from_json(old)
        plan = replace(plan, amendments=before.amendments)
        if is_amendment(before, plan):
            plan, note = amended(study, before, plan)
    write_json(study.plan, _through_json(plan.as_json()))
    write_text(study.plan_yaml, text)
    return note


def check_plan(study: StudyPaths, plan: Plan) -> None:
    """Refuse a plan that differs from the stored one; the same study may only gain evaluations and confirming seeds.

    Raises:
        HomeError: the folder holds another plan, of which something has been trained; shows the difference.
    """
    stored = read_json_or_none(study.plan)
    if stored is None or not has_trained(study):
        return
    if difference := _plan_difference(stored, plan):
        raise HomeError(
            f"{study.root} belongs to another plan of the same name:\n{difference}\n"
            f"Give the changed study a name of its own, e.g. study={plan.study}-2, or choose another --home"
        )


def has_trained(study: StudyPaths) -> bool:
    """Whether a run of the study has got so far that something would be lost with it: a result, or a checkpoint."""
    return any(
        run.trained.exists() or any(attempt.checkpoint.exists() for attempt in run.existing_attempts())
        for run in study.existing_runs()
    )


def _plan_difference(stored: Mapping[str, Any], plan: Plan) -> str:
    """The leaves in which a plan differs from the stored one of the same study, or ""."""
    before = Plan.from_json(stored)
    old, new = _through_json(before.as_json()), _through_json(plan.as_json())
    kept = {
        **new,
        "amendments": old["amendments"],
        "evaluations": [e for e in new["evaluations"] if e in old["evaluations"]],
    }
    if before.imported is not None and new["imported"] is not None:
        kept["imported"] = {**new["imported"], "checkpoint": before.imported.checkpoint}  # the file may move
    if is_amendment(before, plan):
        kept["confirm"] = old["confirm"]
    return "" if old == kept else _diff(old, new)


def revoke_orphans(executor: Executor, run: RunPaths, state: RunState) -> bool:
    """Make sure that attempts which a dead orchestrator intended never start, unless a job of theirs is waiting.

    Returns:
        Whether `state`, that of the run, is out of date now.
    """
    is_changed = False
    for attempt in state.attempts:
        if attempt.status is not AttemptStatus.INTENDED:
            continue
        owner = attempt.job.get("orchestrator", {})
        if not (is_on_this_host(owner) and is_alive(owner)) and not executor.is_alive(attempt):
            revoke(run.attempt(attempt.number))
            is_changed = True
    return is_changed


def revoke(attempt: AttemptPaths) -> bool:
    """Make sure that an attempt never starts; False when it has started."""
    return create_once(attempt.claim, {"revoked": True, **this_process()})


def settle(executor: Executor, run: RunPaths, state: AttemptState) -> bool:
    """Write down how an attempt ended; False when that is not known yet."""
    ending = executor.ending(state)
    if ending is None:
        return False
    attempt = run.attempt(state.number)
    if state.status is AttemptStatus.INTENDED and not revoke(attempt):
        return False
    write_verdict(attempt, ending)
    return True


def write_verdict(attempt: AttemptPaths, ending: Ending) -> None:
    """Keep how an attempt ended; the first verdict stands."""
    create_once(attempt.verdict, {**ending.as_json(), "t": time.time()})


def submit(
    home: HomePaths, run: RunPaths, spec: RunSpec, evaluations: Sequence[EvaluationRequest],
    executor: Executor, *, study: str, data_folder: Path, checkpoint_every_s: float,
    pruning: Mapping[str, Any] | None = None, num_processes: int = 1,
    evaluation_folders: Mapping[str, Path] | None = None, log_every: int | None = None, num_seen: int | None = None,
) -> None:  # fmt: skip
    """Start the next attempt at a run.

    `evaluation_folders` are the folders of evaluations that have a dataset of their own, by name; `log_every` is how
    many steps lie between two that the journal keeps, None the usual number. Where there are more attempts than
    `num_seen`, on which the decision was taken, another study has seen to the run, and nothing is started.

    Raises:
        HomeError: the run's folder holds another spec.
    """
    run.attempts.mkdir(parents=True, exist_ok=True)
    _store_spec(run, spec)
    run.stop.unlink(missing_ok=True)
    code = code_for(home, spec, evaluations)
    existing = run.existing_attempts()
    if num_seen is not None and len(existing) > num_seen:
        return
    attempt = run.attempt(existing[-1].number + 1 if existing else 1)
    try:
        attempt.root.mkdir()
    except FileExistsError:
        return  # another study of this home has just started the same base
    job = {
        "schema_version": SCHEMA_VERSION,
        "run_id": spec.run_id,
        "attempt": attempt.number,
        "intent_t": time.time(),
        "orchestrator": this_process(),
        "study": study,
        "executor": executor.name,
        "phase": spec.labels["phase"],
        **code,
        "request": {
            "home": str(home.root),
            "data_folder": str(data_folder),
            "checkpoint_every_s": checkpoint_every_s,
            "num_processes": num_processes,
            "log_every": log_every,
            "evaluations": [_through_json(_request(e, evaluation_folders or {})) for e in evaluations],
            "pruning": None if pruning is None else _through_json(pruning),
        },
        "job": None,
    }
    write_json(attempt.job, job)
    acknowledgement = executor.submit(attempt)
    write_json(attempt.job, {**job, "job": dict(acknowledgement)})


def read_trials(study: StudyPaths, arm: str) -> list[Trial]:
    """The recorded trials of an arm."""
    records = [read_json(path) for path in study.trials(arm)]
    return [Trial(r["number"], r["params"], TrialState(r["state"]), r["objective"]) for r in records]


def write_trial(study: StudyPaths, arm: str, trial: Trial, run_ids: Sequence[str]) -> None:
    """Record a trial; the search's own storage can be rebuilt from these records."""
    path = study.trial(arm, trial.number)
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "schema_version": SCHEMA_VERSION,
        "arm": arm,
        "number": trial.number,
        "params": dict(trial.params),
        "run_ids": list(run_ids),
        "state": str(trial.state),
        "objective": trial.objective,
    }
    if read_json_or_none(path) != record:
        write_json(path, record)


def _store_spec(run: RunPaths, spec: RunSpec) -> None:
    new = _through_json(spec.as_json())
    if not create_once(run.spec, new):
        old = read_json(run.spec)
        if old["training"] != new["training"] or old["schema_version"] != new["schema_version"]:
            raise HomeError(f"{run.spec} describes another training:\n{_diff(old, new)}\nMove the folder away")


def _request(request: EvaluationRequest, folders: Mapping[str, Path]) -> dict[str, Any]:
    evaluation = request.evaluation
    own = {} if evaluation.dataset is None else {"data_folder": str(folders[evaluation.name])}
    return {"evaluation": evaluation.as_json(), "split": request.split, "key": request.key, **own}


def _through_json(data: Mapping[str, Any]) -> dict[str, Any]:
    """As it will read back: tuples become lists."""
    result: dict[str, Any] = json.loads(json.dumps(data))
    return result


def _diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The differing leaves of two nested mappings, old and new."""
    lines = difflib.unified_diff(_leaves(old), _leaves(new), "stored", "now", lineterm="", n=0)
    return "\n".join(f"  {line}" for line in lines if not line.startswith(("@@", "---", "+++")))


def _leaves(data: Any, path: str = "") -> list[str]:
    if isinstance(data, Mapping) and data:
        return [line for key, value in data.items() for line in _leaves(value, f"{path}.{key}" if path else str(key))]
    if isinstance(data, list) and any(isinstance(v, Mapping) for v in data):
        return [line for i, value in enumerate(data) for line in _leaves(value, f"{path}[{value.get('name', i)}]")]
    return [f"{path} = {json.dumps(data)}"]
