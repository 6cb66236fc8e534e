"""Which runs to look at in a turn: those that have news, and of those that may have some a few, one after the other.

What is looked at costs file operations. So that a turn costs the same whether ten runs wait and run or ten thousand,
runs that are over or wait for us are not looked at, running ones a few at a time, and a base that another study of the
home may be training only now and then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence

_RUNNING = 16  # running ones in a turn
_BASE_EVERY_S = 1.0


class Rounds:
    """Goes round the runs of one study."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._news: dict[str, None] = {}
        self._positions = {"running": 0, "bases": 0}
        self._next_base = clock()

    def tell(self, run_ids: Iterable[str]) -> None:
        """These have news: they are looked at in the next turn."""
        self._news.update(dict.fromkeys(run_ids))

    def due(self, running: Collection[str], lacking_bases: Collection[str]) -> list[str]:
        """The runs to look at in this turn, each once."""
        due = {**self._news, **dict.fromkeys(self._some("running", tuple(running), _RUNNING))}
        self._news = {}
        if lacking_bases and self._clock() >= self._next_base:
            self._next_base = self._clock() + _BASE_EVERY_S
            due |= dict.fromkeys(self._some("bases", tuple(lacking_bases), 1))
        return list(due)

    def _some(self, kind: str, of: Sequence[str], most: int) -> Iterable[str]:
        if len(of) <= most:
            return of
        start = self._positions[kind] % len(of)
        self._positions[kind] = start + most
        return (*of, *of)[start : start + most]
