"""What people are told about states that pass: once when they begin, and once when they have ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from study.amounts import duration

_GONE_AFTER_S = 60.0  # SLURM names one of several reasons, and another one a minute later


@dataclass
class _Open:
    end: str
    since: float
    seen: float


class Notices:
    """Lines for people; `take` them away."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lines: list[str] = []
        self._open: dict[tuple[str, ...], _Open] = {}

    def say(self, line: str) -> None:
        """Say something that happens once."""
        self._lines.append(line)

    def begin(self, key: tuple[str, ...], begin: str, end: str) -> None:
        """A state holds: say `begin`, unless that was said; `end` will be said when it is over."""
        now = self._clock()
        if key not in self._open:
            self._lines.append(begin)
            self._open[key] = _Open(end, now, now)
        self._open[key].seen = now

    def end(self, *start: str) -> None:
        """The states whose keys start like this are over."""
        for key in [key for key in self._open if key[: len(start)] == start]:
            self._close(key, self._clock())

    def hold(self, kind: str, states: Mapping[tuple[str, ...], tuple[str, str]], *, is_sure: bool) -> None:
        """Of the states of a kind, exactly these hold now.

        Args:
            kind: first part of their keys.
            states: the rest of a state's key → what is said at its begin and at its end.
            is_sure: the others are over; else they may only be hidden, and are over when they stay away.
        """
        for key, (begin, end) in states.items():
            self.begin((kind, *key), begin, end)
        for key, known in list(self._open.items()):
            if key[0] != kind or key[1:] in states:
                continue
            if is_sure or self._clock() - known.seen >= _GONE_AFTER_S:
                self._close(key, known.seen)

    def _close(self, key: tuple[str, ...], until: float) -> None:
        gone = self._open.pop(key)
        if gone.end:
            self._lines.append(f"{gone.end} (it took {duration(until - gone.since)})")

    def take(self) -> list[str]:
        """What is to be said now."""
        lines, self._lines = self._lines, []
        return lines
