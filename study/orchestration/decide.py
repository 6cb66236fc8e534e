"""Deciding: from the plan, the trials and the runs to the next actions. Pure: no files, no clock, no processes."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import fmean
from typing import Any

from study.orchestration.canary import Canaries
from study.orchestration.ledger import Ledger
from study.orchestration.pruning import pruning_request
from study.orchestration.snapshot import RunStatus
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
        runs: what is known of runs; one that is not in it has no directory yet.
        num_free_slots: attempts that may be started now.
    """

    trials: Mapping[str, Sequence[Trial]]
    runs: Ledger
    num_free_slots: int

    def status(self, spec: RunSpec) -> RunStatus:
        """Status of a run."""
        return self.runs.status(spec.run_id)


def decide(plan: Plan, now: Situation) -> list[Action]:
    """The actions that are possible now, most urgent first; outcomes are told before anything is started.

    Searches come first, because they are sequential; base models before the confirming runs that are short and fill
    the gaps at the end. An arm is confirmed as soon as its own search is over: there is no barrier. Of an arm that has
    not shown yet that it works, one run at a time is started. Confirming runs that are over cost nothing here.
    """
    tells: list[Action] = list(_outcomes(plan, now))
    if tells:
        return tells
    actions: list[Action] = []
    for action in itertools.islice(_startable(plan, now), max(0, now.num_free_slots)):
        actions.append(action)
        if isinstance(action, Ask):
            break  # its runs are known only after asking
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
    canaries = Canaries(now.trials, now.runs)
    yield from _runs_of_trials(plan, now, tuned, canaries)
    if tuned:
        yield from _bases(plan, now, plan.tune.base_seeds)
        yield from _next_trial(plan, now, tuned)
    yield from _bases(plan, now, plan.confirm.base_seeds)
    yield from _confirming(plan, now, canaries)


def _runs_of_trials(plan: Plan, now: Situation, tuned: Sequence[Arm], canaries: Canaries) -> Iterator[Submit]:
    """Runs of trials that go on, and those of complete ones that have gone: what a search chose by must be there."""
    seen: set[str] = set()
    for state in (TrialState.RUNNING, TrialState.COMPLETE):
        if state is TrialState.COMPLETE and now.runs.tuning.keys() <= seen:
            return
        for arm in tuned:
            for trial in now.trials.get(arm.name, ()):
                if trial.state is not state:
                    continue
                for spec in tune_specs(plan, arm, trial.params):
                    is_new = spec.run_id not in seen
                    seen.add(spec.run_id)
                    if is_new and _is_ready(plan, now, spec) and canaries.allow(arm.name):
                        is_open = state is TrialState.RUNNING  # else it was not pruned, and is not to be now
                        pruning = pruning_request(plan, spec, now.trials[arm.name], now.runs) if is_open else None
                        yield Submit(spec, evaluations_for(plan, Phase.TUNE), pruning)


def _next_trial(plan: Plan, now: Situation, tuned: Sequence[Arm]) -> Iterator[Ask]:
    """The arm with the fewest trials asks next, so that budgets grow evenly."""
    if any(now.status(base_spec(plan, seed)) is not RunStatus.COMPLETED for seed in plan.tune.base_seeds):
        return
    open_arms = [arm for arm in tuned if len(now.trials.get(arm.name, ())) < plan.tune.trials_per_arm]
    yield from (Ask(arm.name) for arm in sorted(open_arms, key=lambda arm: len(now.trials.get(arm.name, ()))))


def _bases(plan: Plan, now: Situation, seeds: Sequence[int]) -> Iterator[Submit]:
    specs = [base_spec(plan, seed) for seed in seeds]
    yield from (Submit(spec, ()) for spec in specs if now.status(spec) is RunStatus.WAITING)


def _confirming(plan: Plan, now: Situation, canaries: Canaries) -> Iterator[Submit]:
    """Base by base, so that pairs are complete early."""
    heads = [(next(own, None), own) for own in (iter(now.runs.confirming(arm.name)) for arm in plan.arms)]
    queue = [(head[0], head[1], own) for head, own in heads if head is not None]
    heapq.heapify(queue)
    while queue:
        _, run_id, rest = queue[0]
        spec = now.runs.entries[run_id][0]
        if _is_ready(plan, now, spec):
            if not canaries.allow(spec.labels["arm"]):
                heapq.heappop(queue)  # nor may any other run of that arm
                continue
            yield Submit(spec, evaluations_for(plan, Phase.CONFIRM))
        following = next(rest, None)
        if following is None:
            heapq.heappop(queue)
        else:
            heapq.heapreplace(queue, (*following, rest))


def _is_ready(plan: Plan, now: Situation, spec: RunSpec) -> bool:
    """Whether a run waits and its base is there."""
    base = base_spec(plan, spec.labels["base_seed"])
    return now.status(spec) is RunStatus.WAITING and now.status(base) is RunStatus.COMPLETED
