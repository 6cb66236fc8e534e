"""Runs that live and do nothing: no progress for far longer than it takes. A heartbeat's age alone means nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from statistics import median

from study.journal.heartbeat import Heartbeat, Stage

_STEPS = 20  # median steps that a step may take in any case
_CPU_SHARE = 0.02  # of one core; the thread that writes heartbeats uses a hundredth of that
_READ_MB = 64.0  # in all; the same thread reads a few of them in an hour
_BUSY = 48  # patiences for which CPU time and reading alone are believed: threads that wait in a loop use it, too


@dataclass
class _History:
    """What was known when progress was made last.

    Attributes:
        beat: then.
        since: when that was.
        counted: when a step or a unit of work was counted last.
        step_s: seconds per step so far.
    """

    beat: Heartbeat
    since: float
    counted: float
    step_s: list[float] = field(default_factory=list)


class HangWatch:
    """Notices attempts that make no progress.

    Progress of a training is a new step: it is given `patience_s`, or 20 times the median step where that is longer.
    Before the first step, after the last one and while evaluating, progress is

    - another phase, another evaluation, or one more unit of work that a loop has counted (a batch of images);
    - where no loop counts: CPU time of at least 2 % of one core since the last progress, or 64 MB that were read.
      Neither grows in a process that is stopped, waits for a file system that hangs, or whose threads wait for each
      other. Threads may also wait in a loop, which uses CPU time for ever: without a unit it is believed for 48
      patiences.

    and is given `quiet_patience_s`.
    """

    def __init__(
        self, patience_s: float = 600.0, quiet_patience_s: float = 1800.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`patience_s` is for steps, `quiet_patience_s` for all else."""
        self._patience_s, self._quiet_patience_s, self._clock = patience_s, quiet_patience_s, clock
        self._histories: dict[Hashable, _History] = {}

    def complaint(self, attempt: Hashable, beat: Heartbeat, *, is_paused: bool = False) -> str | None:
        """What an attempt has not done for too long, in words; None: it makes progress.

        Args:
            attempt: identifies the attempt.
            beat: its newest heartbeat.
            is_paused: it waits for its turn, or the scheduler has suspended it; the time does not count.
        """
        now = self._clock()
        history = self._histories.get(attempt)
        if history is None or is_paused:
            steps = history.step_s if history else []
            self._histories[attempt] = _History(beat, now, now, steps)
            return None
        if _place(beat) != _place(history.beat):
            if _trains(beat) and _trains(history.beat):
                history.step_s.append((now - history.since) / max(1, beat.step - history.beat.step))
            history.beat, history.since, history.counted = beat, now, now
            return None
        silent_s = now - history.since
        if _trains(beat):
            typical_s = median(history.step_s) if history.step_s else 0.0
            is_late = silent_s > max(self._patience_s, _STEPS * typical_s)
            return f"no step after step {beat.step} for {silent_s:.0f} s" if is_late else None
        if self._is_busy(beat, history, silent_s) and now - history.counted <= _BUSY * self._quiet_patience_s:
            history.beat, history.since = beat, now
            return None
        if silent_s <= self._quiet_patience_s:
            return None
        return f"{_where(beat)} without a sign of work for {now - history.since:.0f} s"

    @staticmethod
    def _is_busy(beat: Heartbeat, history: _History, silent_s: float) -> bool:
        cpu_s, read_mb = beat.cpu_s - history.beat.cpu_s, beat.read_mb - history.beat.read_mb
        return cpu_s >= max(_CPU_SHARE * silent_s, 0.01) or read_mb >= _READ_MB


def _place(beat: Heartbeat) -> tuple[Stage, str, int, int]:
    return beat.phase, beat.what, beat.step, beat.done


def _trains(beat: Heartbeat) -> bool:
    return beat.phase is Stage.TRAINING and 0 < beat.step < beat.num_steps


def _where(beat: Heartbeat) -> str:
    match beat.phase:
        case Stage.STARTING:
            return "before the first step"
        case Stage.TRAINING:
            return "after the last step"
        case Stage.EVALUATING:
            return f"evaluating {beat.what}"
