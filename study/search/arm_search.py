"""The search of one arm: ask for a trial, tell what became of it, and carry on after a crash."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
from optuna.samplers import TPESampler

from study.errors import HomeError, StudyError
from study.plan.space import FloatRange
from study.search.log import OPTUNA_STATES, append_trial, distributions, mend_tail, open_log, rebuild
from study.search.trial import Sampler, SearchDefinition, Trial, TrialState, winner

__all__ = ["ArmSearch", "Trial", "TrialState", "rebuild", "winner"]

STARTUP_TRIALS = 10  # Optuna's own default for TPE
_OUTCOMES = (OPTUNA_STATES[TrialState.COMPLETE], OPTUNA_STATES[TrialState.INFEASIBLE])
_STATES = {theirs: ours for ours, theirs in OPTUNA_STATES.items()}


class ArmSearch:
    """Maximises the objective of one arm.

    The point of a trial depends on the study, the arm, its number and the trials before it, on nothing else:
    the sampler is built anew for every trial. TPE samples at random until ten trials have an outcome, and random
    points are common to all arms (`SearchDefinition.random_point`); after that, running trials count as poor ones,
    so that trials asked for together spread out.
    """

    def __init__(
        self,
        *,
        log: Path,
        study: str,
        arm: str,
        space: Mapping[str, FloatRange],
        start: Mapping[str, float],
        sampler: Sampler,
        records: Sequence[Trial] = (),
    ) -> None:
        """Open the search, or create it.

        Args:
            log: Optuna's journal of this arm; created, from `records`, when it does not exist.
            study: name of the study.
            arm: name of the arm.
            space: dotted name → range.
            start: dotted name → value of trial 0.
            sampler: `tpe` or `random`.
            records: the arm's trials as recorded beside the log.

        Raises:
            HomeError: the log is damaged, belongs to another search, or disagrees with `records`.
        """
        self._definition = SearchDefinition(study=study, arm=arm, space=space, start=start, sampler=sampler)
        self._log = log
        if not log.exists():
            rebuild(log, self._definition, records)
        self._search = open_log(log, self._definition)
        self._check(records)

    def trials(self) -> list[Trial]:
        """All trials, by number."""
        return [
            Trial(t.number, dict(t.params), _STATES[t.state], t.value if t.values else None)
            for t in self._search.get_trials(deepcopy=False)
        ]

    def ask(self) -> Trial:
        """Create the next trial, running, and return it."""
        number = len(self._search.get_trials(deepcopy=False))
        params = self._sample(number) if number else self._definition.start
        trial = Trial(number, {name: float(value) for name, value in params.items()}, TrialState.RUNNING)
        mend_tail(self._log)
        append_trial(self._search, self._definition, trial)
        return trial

    def tell(self, number: int, objective: float | None, state: TrialState) -> None:
        """Say what became of trial `number`; saying the same again is allowed.

        Args:
            number: of the trial.
            objective: a finite number for a complete trial, None for any other.
            state: anything but running.

        Raises:
            StudyError: there is no such trial, or something else was told before.
            ValueError: state and objective do not fit together.
        """
        if state is TrialState.RUNNING:
            raise ValueError(f"trial {number}: tell what became of it; it cannot be told to be running")
        is_finite = objective is not None and math.isfinite(objective)
        if not (is_finite if state is TrialState.COMPLETE else objective is None):
            raise ValueError(
                f"trial {number}: a complete trial has a finite objective and no other has one,"
                f" but got {state} with {objective}"
            )
        trials = self.trials()
        if not 0 <= number < len(trials):
            raise StudyError(f"{self._log}: there is no trial {number}; {len(trials)} exist")
        known = trials[number]
        if known.state is TrialState.RUNNING:
            mend_tail(self._log)
            self._search.tell(number, objective, OPTUNA_STATES[state])
        elif (known.state, known.objective) != (state, objective):
            raise StudyError(
                f"{self._log}: trial {number} was told to be {known.state} with objective {known.objective},"
                f" now {state} with {objective}; the evaluations of its runs must have been replaced"
            )

    def _sample(self, number: int) -> dict[str, float]:
        trials = self._search.get_trials(deepcopy=False)
        num_outcomes = sum(trial.state in _OUTCOMES for trial in trials)
        if self._definition.sampler == "random" or num_outcomes < STARTUP_TRIALS:
            return self._definition.random_point(number)
        sampler = TPESampler(seed=self._definition.seed(number), multivariate=True, constant_liar=True)
        scratch = optuna.create_study(direction="maximize", sampler=sampler)
        scratch.add_trials(trials)
        return dict(scratch.ask(distributions(self._definition.space)).params)

    def _check(self, records: Sequence[Trial]) -> None:
        trials = {t.number: t for t in self._search.get_trials(deepcopy=False)}
        for number, trial in trials.items():
            if trial.state not in _STATES or trial.params.keys() != self._definition.space.keys():
                raise HomeError(
                    f"{self._log}: trial {number} was not written by this search ({trial.state.name},"
                    f" {trial.params}); {self._advice}"
                )
        for record in records:
            params = trials[record.number].params if record.number in trials else None
            if params != dict(record.params):
                raise HomeError(
                    f"{self._log} disagrees with the record of trial {record.number}: the log has {params},"
                    f" the record {dict(record.params)}; {self._advice}"
                )

    @property
    def _advice(self) -> str:
        return "move the log away and start the study again: it is built anew from the trial records"
