"""Observing: what the directories and the executor say about every run, cheaply enough to ask four times a second."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from study.errors import JournalError
from study.journal.endings import EndKind
from study.journal.files import read_json_or_none
from study.journal.heartbeat import Heartbeat
from study.journal.replay import AttemptState, RunState
from study.journal.summary import YOUNG_S, brief_state, brief_states
from study.orchestration.policy import end_kind, reason_to_give_up
from study.paths import RunPaths

_INFEASIBLE = ("diverged", "memory", "pruned")  # outcomes of the parameters, not faults of the machines


class RunStatus(StrEnum):
    """What to make of a run."""

    WAITING = "waiting"  # needs an attempt
    ACTIVE = "active"
    COMPLETED = "completed"
    INFEASIBLE = "infeasible"  # diverged, out of memory or pruned: an outcome
    FAILED = "failed"


@dataclass(frozen=True)
class RunView:
    """One run as the orchestrator sees it.

    Attributes:
        status: see `RunStatus`.
        step, num_steps: of the newest heartbeat of an active run.
        beat: that heartbeat; None: no process is at the run.
        num_attempts: attempts so far.
        num_losses: attempts that ended without a last word since this orchestrator started.
        evaluations: key → contents of the evaluation's file, of a run that is over `metrics` and `cpu_s`.
        interim: epoch → objective before the end, where trials may be pruned.
        failure: kind and message of the last failure.
        trouble: what went wrong with attempts since this orchestrator started, and was or is tried again.
        train_cpu_s: CPU seconds of the training.
        spent_s: seconds from the start to the newest sign of life, over all attempts; 0 for a run that was taken over.
    """

    status: RunStatus = RunStatus.WAITING
    step: int = 0
    num_steps: int = 0
    num_attempts: int = 0
    num_losses: int = 0
    evaluations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    interim: Mapping[int, float] = field(default_factory=dict)
    failure: str | None = None
    trouble: tuple[str, ...] = ()
    train_cpu_s: float = 0.0
    spent_s: float = 0.0
    beat: Heartbeat | None = None


class Observer:
    """Reads run directories; a completed run is read once, an active one only through its process and heartbeat."""

    def __init__(
        self,
        is_alive: Callable[[AttemptState], bool],
        settle: Callable[[RunPaths, AttemptState], bool] = lambda _run, _attempt: True,
        site: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Observe through an executor.

        Args:
            is_alive: whether the process of an attempt may still write.
            settle: finds out and writes down how an attempt ended; False when that is not known yet. Without it,
                nothing is written but summaries.
            site: the site file of the command, for advice.
            clock: seconds.
        """
        self._is_alive, self._settle, self._site, self._clock = is_alive, settle, site, clock
        self._settled: dict[str, tuple[frozenset[str], RunView]] = {}
        self._active: dict[str, tuple[RunState, RunPaths]] = {}
        self._seen_before: dict[str, int] = {}
        self._to_sum_up: deque[tuple[float, RunPaths]] = deque()

    def view(self, paths: RunPaths, evaluation_keys: Collection[str]) -> RunView:
        """Observe one run, which is complete when it is trained and has the evaluations `evaluation_keys`."""
        key = str(paths.root)
        wanted = frozenset(evaluation_keys)
        if key in self._settled and self._settled[key][0] == wanted:
            return self._settled[key][1]
        if key in self._active:
            state, _ = self._active[key]
            if state.last is not None and self._is_alive(state.last) and state.last.claim is not None:
                return _active_view(paths, state)
        return self._view(paths, wanted, brief_state(paths))

    def first_views(
        self,
        runs: Sequence[tuple[RunPaths, Collection[str]]],
        tidy_up: Callable[[RunPaths, RunState], bool] = lambda _run, _state: False,
    ) -> Iterator[RunView]:
        """Observe many runs that have not been observed before.

        Args:
            runs: the runs, with their evaluations.
            tidy_up: does with each what is to be done first; says whether that has changed anything.

        Yields:
            What is seen of each, in their order.
        """
        states = brief_states([paths for paths, _ in runs])
        for (paths, evaluation_keys), state in zip(runs, states, strict=True):
            is_changed = tidy_up(paths, state)
            yield self._view(paths, frozenset(evaluation_keys), brief_state(paths) if is_changed else state)

    def _view(self, paths: RunPaths, wanted: frozenset[str], state: RunState) -> RunView:
        """Make up our mind about a run that has just been read."""
        key = str(paths.root)
        is_known = key in self._seen_before
        self._seen_before.setdefault(key, len(state.attempts))
        self._active.pop(key, None)
        if state.last is not None and not state.last.is_over:
            if self._is_alive(state.last):
                self._active[key] = (state, paths)
                return _active_view(paths, state)
            state = brief_state(paths)  # it may have had its last word between the reading and the asking
        if state.last is not None and state.last.lacks_verdict:
            if not self._settle(paths, state.last):
                return _active_view(paths, state)
            state = brief_state(paths)
        view = self._judge(paths, state, wanted)
        if view.status in (RunStatus.COMPLETED, RunStatus.INFEASIBLE):
            self._settled[key] = (wanted, view)
            if is_known:  # else it is not new, or whoever comes next sums it up
                self._to_sum_up.append((self._clock() + YOUNG_S + 1, paths))
        return view

    def sum_up(self) -> None:
        """Write what is left to those who come later of runs that ended some seconds ago."""
        while self._to_sum_up and self._to_sum_up[0][0] <= self._clock():
            with suppress(JournalError):
                brief_state(self._to_sum_up.popleft()[1])

    def active(self) -> list[tuple[RunPaths, AttemptState]]:
        """Attempts that were alive when last observed."""
        return [(paths, state.last) for state, paths in self._active.values() if state.last is not None]

    def active_attempt(self, paths: RunPaths) -> AttemptState | None:
        """The attempt at a run that was alive when last observed."""
        state, _ = self._active.get(str(paths.root), (None, paths))
        return None if state is None else state.last

    def forget(self, paths: RunPaths) -> None:
        """Read the run anew, although its process seems to live."""
        self._active.pop(str(paths.root), None)

    def _judge(self, paths: RunPaths, state: RunState, wanted: frozenset[str]) -> RunView:
        last = state.last
        recent = [a for a in state.attempts if a.number > self._seen_before[str(paths.root)]]
        failure = last.failure if last is not None else None
        message = f"{failure['kind']}: {failure['message']}" if failure else None
        status = RunStatus.WAITING
        if state.trained is not None and wanted <= state.evaluations.keys():
            status = RunStatus.COMPLETED
        elif failure is not None and failure["kind"] in _INFEASIBLE:
            status = RunStatus.INFEASIBLE
        elif failure is not None and last in recent:
            status = RunStatus.FAILED
        elif (reason := reason_to_give_up(recent, self._site)) is not None:
            status, message = RunStatus.FAILED, reason
        return RunView(
            status,
            num_attempts=len(state.attempts),
            num_losses=sum(end_kind(attempt) is EndKind.LOST for attempt in recent),
            evaluations=state.evaluations,
            interim={epoch: value for a in state.attempts for epoch, value in a.interim.items()},
            failure=message,
            trouble=tuple(f"attempt {a.number}: {a.verdict}" for a in recent if a.verdict and a.verdict.is_trouble),
            train_cpu_s=float(state.trained["cpu_s"]) if state.trained else 0.0,
            spent_s=_spent_s(state),
        )


def _active_view(paths: RunPaths, state: RunState) -> RunView:
    assert state.last is not None
    beat = Heartbeat.from_json(read_json_or_none(paths.attempt(state.last.number).heartbeat))
    return RunView(
        RunStatus.ACTIVE,
        beat.step,
        beat.num_steps,
        len(state.attempts),
        evaluations=state.evaluations,
        spent_s=_spent_s(state, beat.t),
        beat=None if state.last.claim is None else beat,
    )


def _spent_s(state: RunState, beat_t: float | None = None) -> float:
    if state.reused is not None:
        return 0.0
    spent = 0.0
    for attempt in state.attempts:
        if attempt.started is not None:
            last_t = (attempt.last_event or attempt.started)["t"]
            spent += max(last_t, beat_t or 0.0 if attempt is state.last else 0.0) - attempt.started["t"]
    return spent
