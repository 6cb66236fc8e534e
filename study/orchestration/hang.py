"""Runs that live and do nothing: no step for far longer than steps take. A heartbeat's age alone means nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from statistics import median

from study.orchestration.snapshot import RunView

_FACTOR = 20


@dataclass
class _History:
    step: int
    since: float
    step_s: list[float] = field(default_factory=list)


class HangWatch:
    """Notices attempts that make no progress.

    Only training counts: an evaluation has no steps, and what precedes the first step, such as reading a dataset, may
    take long.
    """

    def __init__(self, patience_s: float = 600.0, clock: Callable[[], float] = time.monotonic) -> None:
        """`patience_s` is borne in any case; beyond it, 20 times the median step."""
        self._patience_s, self._clock = patience_s, clock
        self._histories: dict[Hashable, _History] = {}

    def silent_s(self, attempt: Hashable, view: RunView, *, is_paused: bool = False) -> float | None:
        """Seconds without progress if they are too many, else None.

        Args:
            attempt: identifies the attempt.
            view: the newest observation of it.
            is_paused: the scheduler has suspended it; the time does not count.
        """
        now = self._clock()
        history = self._histories.get(attempt)
        if history is None or is_paused or not 0 < view.step < view.num_steps:
            self._histories[attempt] = _History(view.step, now, history.step_s if history else [])
            return None
        if view.step != history.step:
            history.step_s.append((now - history.since) / max(1, view.step - history.step))
            history.step, history.since = view.step, now
            return None
        silent_s = now - history.since
        typical_s = median(history.step_s) if history.step_s else 0.0
        return silent_s if silent_s > max(self._patience_s, _FACTOR * typical_s) else None
