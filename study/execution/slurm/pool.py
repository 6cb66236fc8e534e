"""Workers that are alike share one line of orders: whichever is free first takes the next."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.execution.slurm.arrivals import Arrivals, Round
from study.execution.slurm.names import Key, key_of
from study.journal.files import create_once, read_json, read_json_or_none, write_json
from study.journal.process import this_process
from study.paths import AttemptPaths, PoolPaths


class Pool:
    """The orchestrator's side of a line of orders: what was known when somebody looked last.

    Attributes:
        paths: the line.
        orders: number → attempt, of what was assigned and has not ended.
    """

    def __init__(self, paths: PoolPaths) -> None:
        self.paths = paths
        self.orders: dict[int, AttemptPaths] = {}
        self._num_assigned = 0
        self._open: dict[int, None] = {}  # numbers whose end is waited for, in the order in which that began
        self._keys: dict[int, Key] = {}
        self._takers: dict[int, str | None] = {}
        self._endings: dict[int, Mapping[str, Any]] = {}
        self._forgotten: set[int] = set()
        self._taken, self._ended, self._said = (Arrivals(f) for f in (paths.all_taken, paths.all_ended, paths.said))
        self._round = Round[int]()

    @property
    def name(self) -> str:
        """What `kind_of` calls it."""
        return self.paths.name

    @property
    def waiting(self) -> list[int]:
        """Orders that no worker had taken when somebody looked."""
        return [number for number in self.orders if number not in self._takers]

    @property
    def running(self) -> dict[int, str | None]:
        """Number → worker, of the orders that had been taken then and had not ended."""
        return {number: self._takers[number] for number in self.orders if number in self._takers}

    @property
    def first(self) -> int:
        """Number of the first order that may still be taken, now or later."""
        return min(self.waiting, default=self._num_assigned + 1)

    @property
    def is_open(self) -> bool:
        """Whether the end of an order is waited for."""
        return bool(self._open)

    def adopt(self) -> None:
        """Read what an earlier orchestrator has assigned, and what has become of it."""
        while (order := read_json_or_none(self.paths.assigned(self._num_assigned + 1))) is not None:
            self._num_assigned += 1
            self.orders[self._num_assigned] = AttemptPaths(Path(order["attempt"]))
        for number in list(self.orders):
            self.read(number)

    def look(self) -> list[str]:
        """Take in what has news, by few operations however many orders there are.

        Returns:
            Names of workers that say to have started or to be leaving.
        """
        arrived = [int(name.partition(".")[0]) for name in (*self._taken.new(), *self._ended.new())]
        for number in {*arrived, *self._round.next(self._open)}:
            if number in self._open:
                self.read(number)
        return [name.rpartition("-")[0] for name in self._said.new()]

    def read(self, number: int) -> None:
        """Read by its name what has become of an order."""
        if number not in self._takers and (taken := read_json_or_none(self.paths.taken(number))) is not None:
            self._takers[number] = taken["worker"]
        taker = self._takers.get(number)
        if taker is not None and number not in self._endings:
            ending = read_json_or_none(self.paths.ended(number))
            if ending is not None:
                self._endings[number] = ending
        if self._is_over(number):
            self.orders.pop(number, None)
            self._open.pop(number, None)
        else:
            self._open[number] = None

    def is_taken(self, number: int) -> bool:
        """Whether a worker has taken an order, or the orchestrator has taken it back."""
        self._meet(number)
        return number in self._takers

    def taker(self, number: int) -> str | None:
        """Name of the worker's folder that has taken an order; None: nobody has, or it was taken back."""
        self._meet(number)
        return self._takers.get(number)

    def ending(self, number: int) -> Mapping[str, Any] | None:
        """How the process of an order ended, or None."""
        self._meet(number)
        return self._endings.get(number)

    def forget(self, number: int) -> None:
        """Wait no more for the end of an order, whose worker's job is over."""
        self._forgotten.add(number)
        self.orders.pop(number, None)
        self._open.pop(number, None)

    def log(self, number: int) -> Path:
        """Where an order's attempt has written its errors."""
        return AttemptPaths(Path(read_json(self.paths.assigned(number))["attempt"])).stderr

    def assign(self, attempt: AttemptPaths) -> None:
        """Put an attempt into the line: acknowledged first, because an order that nobody knows of is never adopted."""
        job = read_json(attempt.job)
        while True:
            number = self._num_assigned + 1
            write_json(attempt.job, {**job, "job": {"pool": str(self.paths.root), "number": number}})
            if create_once(self.paths.assigned(number), {"attempt": str(attempt.root), "key": key_of(job)}):
                break
            self.adopt()  # an orchestrator that has lost its lease was here
        self._num_assigned = number
        self.orders[number] = attempt
        self._open[number] = None

    def key(self, number: int) -> Key | None:
        """Which attempt an order is for; None: there is no such order."""
        if number not in self._keys:
            order = read_json_or_none(self.paths.assigned(number))
            if order is None:
                return None
            self._keys[number] = tuple(order["key"])
        return self._keys[number]

    def taken_by(self, worker: str) -> list[int]:
        """Orders of this orchestrator's time, or that it adopted, that a worker has taken."""
        return [number for number, taker in self._takers.items() if taker == worker]

    def has_ended(self, number: int) -> bool:
        """Whether the process of an order is known to have ended."""
        return number in self._endings

    def take_back(self, number: int) -> bool:
        """Make sure that no worker takes an order; False when one has."""
        create_once(self.paths.taken(number), {"worker": None, "t": time.time(), **this_process()})
        self.read(number)
        return number in self._takers and self._takers[number] is None

    def empty(self) -> list[Key]:
        """Take back all that waits; returns which attempts that concerns."""
        return [key for n in self.waiting if self.take_back(n) and (key := self.key(n)) is not None]

    def _meet(self, number: int) -> None:
        """Begin to wait for the end of an order, perhaps one of another study's."""
        if number not in self._open and not self._is_over(number):
            self.read(number)

    def _is_over(self, number: int) -> bool:
        is_taken_back = number in self._takers and self._takers[number] is None
        return number in self._endings or is_taken_back or number in self._forgotten
