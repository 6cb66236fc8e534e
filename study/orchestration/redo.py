"""Making runs, arms, bases or evaluations of a study anew: what there is of them is moved aside first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.errors import UserError, did_you_mean
from study.execution.base import seems_alive
from study.journal.files import read_json, read_json_or_none
from study.journal.replay import AttemptStatus, replay_attempt
from study.orchestration.actions import read_trials, revoke
from study.orchestration.aside import REDO, set_aside
from study.orchestration.decide import known_specs
from study.orchestration.lease import Lease
from study.orchestration.typed import manage
from study.paths import HomePaths, RunPaths, StudyPaths
from study.plan.model import Phase, Plan

BASES = "bases"


@dataclass(frozen=True)
class _Known:
    """A run of the study, or a base that it uses."""

    run_id: str
    phase: Phase
    arm: str | None
    paths: RunPaths


@dataclass(frozen=True)
class Redone:
    """What `redo` did.

    Attributes:
        runs: ids of the runs and bases that were moved, or lost an evaluation.
        searches: arms whose searches start anew.
        folder: where everything is now.
    """

    runs: tuple[str, ...]
    searches: tuple[str, ...]
    folder: Path


def redo(home: HomePaths, name: str, targets: Sequence[str], evaluation: str | None, why: str) -> Redone:
    """Move what the targets name aside; the study's next start makes it anew.

    With an arm go its trials, because its search chose by them, and with a base the runs that continue it.

    Args:
        home: where the study lives.
        name: the study.
        targets: arms, run ids, ids of bases, or `bases`; none of them means all runs, where `evaluation` is given.
        evaluation: name of the only evaluation to be made anew; the training stays.
        why: the user's reason, for the record.

    Raises:
        UserError: a target is not known, is a trial's run, is trained just now, or is a base of other studies; nothing
            has been moved then.
        LeaseHeldError: an orchestrator works on the study.
    """
    study = home.study(name)
    lease = Lease.acquire(study.lease)
    try:
        plan = Plan.from_json(read_json(study.plan))
        known = list(_known(home, study, plan))
        if evaluation is not None:
            return _redo_evaluation(study, plan, known, targets, evaluation, why)
        return _redo_runs(home, study, plan, known, targets, why)
    finally:
        lease.release()


def _redo_runs(
    home: HomePaths, study: StudyPaths, plan: Plan, known: Sequence[_Known], targets: Sequence[str], why: str
) -> Redone:
    chosen = _chosen(study, plan, known, targets)
    bases = [run for run in chosen if run.phase is Phase.PREPARE]
    _require_own(home, study, bases)
    continued = {run.run_id for run in bases}
    for run in known:
        if run not in chosen and run.phase is not Phase.PREPARE and _base_of(run) in continued:
            chosen.append(run)
    arms = {run.arm for run in chosen if run.phase is Phase.TUNE and run.arm is not None}
    named = [target for target in targets if target in {run.run_id for run in chosen if run.phase is Phase.TUNE}]
    if lonely := [run for run in chosen if run.run_id in named and run.arm not in targets]:
        advice = manage("redo", study.root.name, home.root, str(lonely[0].arm))
        what = f"{lonely[0].run_id} is a run of a trial, by which the search of {lonely[0].arm} chose"
        raise UserError(f"{what}; redo the arm: {advice}")
    chosen += [run for run in known if run.phase is Phase.TUNE and run.arm in arms and run not in chosen]
    _require_idle(study, chosen)
    searches = tuple(arm.name for arm in plan.arms if arm.name in arms)
    paths = [*(run.paths.root for run in chosen), *_search_files(study, searches)]
    folder = set_aside(
        study, paths, kind=REDO, what=" ".join(targets), why=why, runs=[_worth(run, plan) for run in chosen]
    )
    study.finished.unlink(missing_ok=True)
    return Redone(tuple(run.run_id for run in chosen), searches, folder)


def _redo_evaluation(
    study: StudyPaths, plan: Plan, known: Sequence[_Known], targets: Sequence[str], evaluation: str, why: str
) -> Redone:
    names = [planned.name for planned in plan.evaluations]
    if evaluation not in names:
        raise UserError(f"no evaluation {evaluation!r} in {plan.study}.{did_you_mean(evaluation, names)}")
    chosen = _chosen(study, plan, known, targets) if targets else [r for r in known if r.phase is not Phase.PREPARE]
    if bases := [run.run_id for run in chosen if run.phase is Phase.PREPARE]:
        raise UserError(f"bases are not evaluated: leave out {', '.join(bases)}")
    chosen = [run for run in chosen if _evaluation_files(run, evaluation)]
    is_objective = plan.tune.objective.split("/")[0] == evaluation
    arms = {run.arm for run in chosen if run.phase is Phase.TUNE and run.arm is not None} if is_objective else set()
    _require_idle(study, chosen)
    searches = tuple(arm.name for arm in plan.arms if arm.name in arms)
    if searches:  # every trial of them is judged anew
        more = [r for r in known if r.phase is Phase.TUNE and r.arm in arms and r not in chosen]
        chosen += [run for run in more if _evaluation_files(run, evaluation)]
    paths = [file for run in chosen for file in _evaluation_files(run, evaluation)]
    what = " ".join([*targets, f"--evaluation {evaluation}"])
    folder = set_aside(
        study, [*paths, *_search_files(study, searches)], kind=REDO, what=what, why=why,
        runs=[_worth(run, plan, evaluation) for run in chosen],
    )  # fmt: skip
    study.finished.unlink(missing_ok=True)
    return Redone(tuple(run.run_id for run in chosen), searches, folder)


def _known(home: HomePaths, study: StudyPaths, plan: Plan) -> Iterator[_Known]:
    """Everything that the plan needs and that is there, and runs that it has no use for any more."""
    trials = {arm.name: read_trials(study, arm.name) for arm in plan.arms if arm.is_tuned}
    seen = set()
    for spec, phase in known_specs(plan, trials):
        paths = home.run_of(plan.study, spec.run_id, phase)
        seen.add(spec.run_id)
        if paths.root.exists():
            yield _Known(spec.run_id, phase, spec.labels.get("arm"), paths)
    for paths in study.existing_runs():
        if paths.root.name not in seen:
            labels = read_json(paths.spec)["labels"]
            yield _Known(paths.root.name, Phase(labels["phase"]), labels.get("arm"), paths)


def _chosen(study: StudyPaths, plan: Plan, known: Sequence[_Known], targets: Sequence[str]) -> list[_Known]:
    if not targets:
        raise UserError(f"name what to make anew: {BASES}, or {_names(plan, known)}")
    chosen: list[_Known] = []
    for target in targets:
        own = [run for run in known if target in (run.arm, run.run_id)]
        if target == BASES and not own:
            own = [run for run in known if run.phase is Phase.PREPARE]
        if not own:
            if target in {arm.name for arm in plan.arms}:
                raise UserError(f"arm {target} of {plan.study} has no runs yet; nothing was moved")
            words = [BASES, *(arm.name for arm in plan.arms), *(run.run_id for run in known)]
            hint = did_you_mean(target, words).partition(" Known:")[0]
            raise UserError(f"{study.root.name} has no run, arm or base {target!r}.{hint} It has {_names(plan, known)}")
        chosen += [run for run in own if run not in chosen]
    return chosen


def _names(plan: Plan, known: Sequence[_Known]) -> str:
    example = next((run.run_id for run in known if run.phase is Phase.CONFIRM), None)
    arms = f"an arm ({', '.join(arm.name for arm in plan.arms)})"
    return f"{arms}, or a run, e.g. {example}" if example else arms


def _require_idle(study: StudyPaths, chosen: Sequence[_Known]) -> None:
    """What waits for a process never gets one; what has one stays where it is."""
    for run in chosen:
        attempts = run.paths.existing_attempts()
        last = replay_attempt(attempts[-1]) if attempts else None
        if last is None or last.is_over:
            continue
        is_idle = revoke(attempts[-1]) if last.status is AttemptStatus.INTENDED else not seems_alive(last)
        if not is_idle:
            command = manage("stop", study.root.name, study.root.parent)
            raise UserError(f"{run.run_id} may still be running; stop it first: {command}")


def _require_own(home: HomePaths, study: StudyPaths, bases: Sequence[_Known]) -> None:
    """A base that other studies have continued is theirs as well."""
    wanted = {run.run_id for run in bases}
    users = sorted(
        {
            spec.parts[-4]
            for spec in (home.root.glob("*/runs/*/spec.json") if wanted else ())
            if spec.parts[-4] != study.root.name and _base_of_spec(read_json_or_none(spec)) in wanted
        }
    )
    if users:
        raise UserError(
            f"the bases are shared with {', '.join(users)}, whose runs continue them; nothing was moved. Run the study"
            " in another --home, or keep the bases with --accept-code-change"
        )


def _base_of(run: _Known) -> str | None:
    return _base_of_spec(read_json_or_none(run.paths.spec))


def _base_of_spec(spec: Mapping[str, Any] | None) -> str | None:
    initial = (spec or {}).get("training", {}).get("initial")
    return None if initial is None else str(initial["base"])[:12]


def _search_files(study: StudyPaths, arms: Sequence[str]) -> list[Path]:
    return [path for arm in arms for path in (study.search_log(arm), study.search / arm)]


def _evaluation_files(run: _Known, evaluation: str) -> list[Path]:
    files = sorted(run.paths.evaluations.glob("*.json"))
    return [file for file in files if read_json(file)["evaluation"]["name"] == evaluation]


def _worth(run: _Known, plan: Plan, evaluation: str | None = None) -> dict[str, Any]:
    """What a run was worth when it was moved: for the report."""
    labels = (read_json_or_none(run.paths.spec) or {}).get("labels", {})
    metrics: dict[str, Any] = {}
    for planned in plan.evaluations:
        if evaluation in (None, planned.name):
            for file in _evaluation_files(run, planned.name):
                record = read_json(file)
                prefix = f"{record['split']}/{planned.name}"
                metrics |= {f"{prefix}/{name}": value for name, value in record["metrics"].items()}
    return {
        "run_id": run.run_id,
        "phase": str(run.phase),
        "arm": run.arm,
        "base_seed": labels.get("base_seed"),
        "continuation_seed": labels.get("continuation_seed"),
        "code": (read_json_or_none(run.paths.trained) or {}).get("code"),
        "metrics": metrics,
    }
