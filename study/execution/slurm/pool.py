"""Workers that are alike share one line of orders: whichever is free first takes the next."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from study.execution.slurm.base import Key, key_of
from study.journal.files import create_once, read_json, read_json_or_none, write_json
from study.journal.process import this_process
from study.paths import AttemptPaths, PoolPaths
from study.plan.identity import digest
from study.plan.site import Resources, Slurm


class Pool:
    """The orchestrator's side of a line of orders.

    Attributes:
        paths: the line.
        orders: number → attempt, of what was assigned and has not ended.
    """

    def __init__(self, paths: PoolPaths) -> None:
        self.paths = paths
        self.orders: dict[int, AttemptPaths] = {}
        self._num_assigned = 0
        self._keys: dict[int, Key] = {}
        self._takers: dict[int, str | None] = {}
        self._endings: dict[int, Mapping[str, Any]] = {}

    @property
    def name(self) -> str:
        """What `pool_of` calls it."""
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

    def adopt(self) -> None:
        """Read what an earlier orchestrator has assigned."""
        while (order := read_json_or_none(self.paths.assigned(self._num_assigned + 1))) is not None:
            self._num_assigned += 1
            self.orders[self._num_assigned] = AttemptPaths(Path(order["attempt"]))
        self.look()

    def look(self) -> None:
        """Read what workers answer."""
        for number in list(self.orders):
            if self.is_taken(number) and (self.taker(number) is None or self.ending(number) is not None):
                del self.orders[number]

    def is_taken(self, number: int) -> bool:
        """Whether a worker has taken an order, or the orchestrator has taken it back."""
        if number not in self._takers and (taken := read_json_or_none(self.paths.taken(number))) is not None:
            self._takers[number] = taken["worker"]
        return number in self._takers

    def taker(self, number: int) -> str | None:
        """Name of the worker's folder that has taken an order; None: nobody has, or it was taken back."""
        return self._takers[number] if self.is_taken(number) else None

    def ending(self, number: int) -> Mapping[str, Any] | None:
        """How the process of an order ended, or None."""
        if number not in self._endings and (ending := read_json_or_none(self.paths.ended(number))) is not None:
            self._endings[number] = ending
        return self._endings.get(number)

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

    def key(self, number: int) -> Key | None:
        """Which attempt an order is for; None: there is no such order."""
        if number not in self._keys:
            order = read_json_or_none(self.paths.assigned(number))
            if order is None:
                return None
            self._keys[number] = tuple(order["key"])
        return self._keys[number]

    def has_worked(self, worker: str) -> bool:
        """Whether a worker has taken an order of this orchestrator's time, or one that it adopted."""
        return worker in self._takers.values()

    def take_back(self, number: int) -> bool:
        """Make sure that no worker takes an order; False when one has."""
        create_once(self.paths.taken(number), {"worker": None, "t": time.time(), **this_process()})
        return self.is_taken(number) and self._takers[number] is None

    def empty(self) -> list[Key]:
        """Take back all that waits; returns which attempts that concerns."""
        return [key for n in self.waiting if self.take_back(n) and (key := self.key(n)) is not None]


def pool_of(resources: Resources, site: Slurm, code: Path) -> str:
    """Name of the workers that are alike: resources, set-up and code."""
    manner = {"setup": site.setup, "python": site.python, "environment": dict(site.environment), "code": str(code)}
    return digest({**asdict(resources), **manner, "runs_per_job": site.runs_per_job})[:8]
