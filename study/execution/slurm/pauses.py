"""Trying again less and less often: pauses that double up to a limit, and differ by chance between studies."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

_SPREAD = 0.2  # a pause is longer or shorter by up to so much of it, or all studies would ask at the same time


class Pauses:
    """What has failed in a row, and when it may be tried again."""

    def __init__(self, first_s: float, most_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """The first pause is about `first_s` long, none much longer than `most_s`."""
        self._first_s, self._most_s, self._clock = first_s, most_s, clock
        self._until = -float("inf")
        self.count = 0

    @property
    def is_over(self) -> bool:
        """Whether it is time to try again."""
        return self._clock() >= self._until

    def begin(self) -> float:
        """Begin a pause, longer than the one before; returns its seconds."""
        pause_s = min(self._first_s * 2.0 ** min(self.count, 30), self._most_s)
        pause_s *= 1 + random.uniform(-_SPREAD, _SPREAD)
        self.count += 1
        self._until = self._clock() + pause_s
        return pause_s

    def cut_short(self) -> None:
        """Something has changed: try again now; should that fail, the next pause is longer all the same."""
        self._until = -float("inf")

    def forget(self) -> None:
        """It has worked."""
        self._until, self.count = -float("inf"), 0
