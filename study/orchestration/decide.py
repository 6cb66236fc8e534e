"""Deciding: from the plan, the trials and the runs to the next actions. Pure: no files, no clock, no processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from statistics import fmean
from typing import Any

from study.orchestration.canary import Canaries
from study.orchestration.pruning import pruning_request
from study.orchestration.snapshot import RunStatus, RunView
from study.plan.expand import base_spec, confirm_specs, inherited, required_evaluations, tune_specs
from study.plan.model import Arm, Phase, Plan
from study.plan.spec import EvaluationRequest, RunSpec
from study.search.trial import Trial, TrialState, winner


@dataclass(frozen=True)
class Submit:
    """Start an attempt at a run."""

    spec: RunSpec
    evaluations: tuple[EvaluationRequest, ...]
    pruning: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Ask:
    """Ask the search of an arm for its next trial."""

    arm: str


@dataclass(frozen=True)
class Tell:
    """Tell the search of an arm what became of a trial."""

    arm: str
    number: int
    state: TrialState
    objective: float | None


Action = Submit | Ask | Tell


@dataclass(frozen=True)
class Situation:
    """What was observed.

    Attributes:
        trials: the trials of every tuned arm.
        runs: run id → view; a run that is not in it has no directory yet.
        num_free_slots: attempts that may be started now.
    """

    trials: Mapping[str, Sequence[Trial]]
    runs: Mapping[str, RunView]
    num_free_slots: int

    def status(self, spec: RunSpec) -> RunStatus:
        """Status of a run."""
        return self.runs[spec.run_id].status if spec.run_id in self.runs else RunStatus.WAITING


def decide(plan: Plan, now: Situation) -> list[Action]:
    """The actions that are possible now, most urgent first; outcomes are told before anything is started.

    Searches come first, because they are sequential; base models before the confirming runs that are short and fill
    the gaps at the end. An arm is confirmed as soon as its own search is over: there is no barrier. Of an arm that has
    not shown yet that it works, one run at a time is started.
    """
    tells: list[Action] = list(_outcomes(plan, now))
    if tells:
        return tells
    actions: list[Action] = []
    free = now.num_free_slots
    canaries = Canaries(now.trials, now.runs)
    for action in _startable(plan, now):
        if free <= 0:
            break
        if isinstance(action, Submit) and not canaries.allow(action.spec):
            continue
        actions.append(action)
        if isinstance(action, Ask):
            break  # its runs are known only after asking
        free -= 1
    return actions


def known_specs(plan: Plan, trials: Mapping[str, Sequence[Trial]]) -> Iterator[tuple[RunSpec, Phase]]:
    """Every run that the plan needs as far as it is known yet: bases, trials' runs, confirming runs of decided arms."""
    seen = set()
    for seed in plan.base_seeds:
        yield base_spec(plan, seed), Phase.PREPARE
    for arm in plan.arms:
        for trial in trials.get(arm.name, ()):
            for spec in tune_specs(plan, arm, trial.params):
                if spec.run_id not in seen:
                    seen.add(spec.run_id)
                    yield spec, Phase.TUNE
    for arm in plan.arms:
        params = final_params(plan, arm, trials)
        if params is not None:
            yield from ((spec, Phase.CONFIRM) for spec in confirm_specs(plan, arm, params))


def final_params(plan: Plan, arm: Arm, trials: Mapping[str, Sequence[Trial]]) -> Mapping[str, float] | None:
    """The parameters on which an arm is judged; None while its search goes on, or when it has no feasible trial."""
    if arm.inherits and arm.parent is not None:
        params = final_params(plan, plan.arm(arm.parent), trials)
        return None if params is None else inherited(arm, params)
    if not arm.is_tuned:
        return {}
    own = trials.get(arm.name, ())
    if sum(t.state in (TrialState.COMPLETE, TrialState.INFEASIBLE) for t in own) < plan.tune.trials_per_arm:
        return None
    best = winner(own)
    return best.params if best else None


def evaluations_for(plan: Plan, phase: Phase) -> tuple[EvaluationRequest, ...]:
    """What a run of this phase is evaluated on."""
    return () if phase is Phase.PREPARE else required_evaluations(plan, phase)


def _outcomes(plan: Plan, now: Situation) -> Iterator[Tell]:
    """Trials whose runs have all ended. A failed run leaves its trial running: the next start tries it again."""
    for name, trials in now.trials.items():
        for trial in trials:
            if trial.state is not TrialState.RUNNING:
                continue
            specs = tune_specs(plan, plan.arm(name), trial.params)
            statuses = [now.status(spec) for spec in specs]
            if RunStatus.INFEASIBLE in statuses:
                yield Tell(name, trial.number, TrialState.INFEASIBLE, None)
            elif all(status is RunStatus.COMPLETED for status in statuses):
                objective = _objective(plan, now, specs)
                if isfinite(objective):
                    yield Tell(name, trial.number, TrialState.COMPLETE, objective)
                else:  # an evaluation that finds no number is an outcome as well
                    yield Tell(name, trial.number, TrialState.INFEASIBLE, None)


def _objective(plan: Plan, now: Situation, specs: Sequence[RunSpec]) -> float:
    """Mean over the trial's runs of the objective on the validation split."""
    evaluation, metric = plan.tune.objective.split("/")
    (request,) = [r for r in required_evaluations(plan, Phase.TUNE) if r.evaluation.name == evaluation]
    return fmean(now.runs[spec.run_id].evaluations[request.key]["metrics"][metric] for spec in specs)


def _startable(plan: Plan, now: Situation) -> Iterator[Action]:
    tuned = [arm for arm in plan.arms if arm.is_tuned]
    yield from _runs_of_trials(plan, now, tuned)
    if tuned:
        yield from _bases(plan, now, plan.tune.base_seeds)
        yield from _next_trial(plan, now, tuned)
    yield from _bases(plan, now, plan.confirm.base_seeds)
    yield from _confirming(plan, now)


def _runs_of_trials(plan: Plan, now: Situation, tuned: Sequence[Arm]) -> Iterator[Submit]:
    seen: set[str] = set()
    for arm in tuned:
        for trial in now.trials.get(arm.name, ()):
            if trial.state is TrialState.RUNNING:
                specs = [s for s in tune_specs(plan, arm, trial.params) if s.run_id not in seen]
                seen |= {s.run_id for s in specs}
                for submit in _ready(plan, now, specs, Phase.TUNE):
                    pruning = pruning_request(plan, submit.spec, now.trials[arm.name], now.runs)
                    yield replace(submit, pruning=pruning)


def _next_trial(plan: Plan, now: Situation, tuned: Sequence[Arm]) -> Iterator[Ask]:
    """The arm with the fewest trials asks next, so that budgets grow evenly."""
    if any(now.status(base_spec(plan, seed)) is not RunStatus.COMPLETED for seed in plan.tune.base_seeds):
        return
    open_arms = [arm for arm in tuned if len(now.trials.get(arm.name, ())) < plan.tune.trials_per_arm]
    yield from (Ask(arm.name) for arm in sorted(open_arms, key=lambda arm: len(now.trials.get(arm.name, ()))))


def _bases(plan: Plan, now: Situation, seeds: Sequence[int]) -> Iterator[Submit]:
    specs = [base_spec(plan, seed) for seed in seeds]
    yield from (Submit(spec, ()) for spec in specs if now.status(spec) is RunStatus.WAITING)


def _confirming(plan: Plan, now: Situation) -> Iterator[Submit]:
    """Base by base, so that pairs are complete early."""
    specs = []
    for arm in plan.arms:
        params = final_params(plan, arm, now.trials)
        if params is not None:
            specs += confirm_specs(plan, arm, params)
    specs.sort(key=lambda spec: plan.confirm.base_seeds.index(spec.labels["base_seed"]))
    yield from _ready(plan, now, specs, Phase.CONFIRM)


def _ready(plan: Plan, now: Situation, specs: Sequence[RunSpec], phase: Phase) -> Iterator[Submit]:
    """Runs that wait and whose base is there."""
    for spec in specs:
        base = base_spec(plan, spec.labels["base_seed"])
        if now.status(spec) is RunStatus.WAITING and now.status(base) is RunStatus.COMPLETED:
            yield Submit(spec, evaluations_for(plan, phase))
