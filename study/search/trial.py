"""A trial: one choice of an arm's tuned parameters, and what became of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal, get_args

from study.plan.space import FloatRange

Sampler = Literal["tpe", "random"]


class TrialState(StrEnum):
    """What became of a trial."""

    RUNNING = "running"
    COMPLETE = "complete"
    INFEASIBLE = "infeasible"  # its training diverged or was pruned: an outcome that counts in the budget
    FAILED = "failed"  # the machines failed it, not its parameters; the sampler learns nothing from it


@dataclass(frozen=True)
class Trial:
    """One choice of parameters.

    Attributes:
        number: from 0 within the arm's search; trial 0 is the declared start.
        params: dotted name → value, one for every name of the space.
        state: see `TrialState`.
        objective: what the search maximises; a number exactly when the trial is complete.
    """

    number: int
    params: Mapping[str, float]
    state: TrialState
    objective: float | None = None


@dataclass(frozen=True)
class SearchDefinition:
    """What a search is about; a stored search with another definition must not be continued.

    Raises:
        ValueError: the start does not name the parameters of the space, or leaves a range; unknown sampler.
    """

    study: str
    arm: str
    space: Mapping[str, FloatRange]
    start: Mapping[str, float]
    sampler: Sampler

    def __post_init__(self) -> None:
        if self.start.keys() != self.space.keys():
            raise ValueError(
                f"arm {self.arm!r}: start has {sorted(self.start)}, but the space has {sorted(self.space)}"
            )
        for name, value in self.start.items():
            if value not in self.space[name]:
                raise ValueError(f"arm {self.arm!r}: start {name}={value:g} is outside {self.space[name]}")
        if self.sampler not in get_args(Sampler):
            known = ", ".join(get_args(Sampler))
            raise ValueError(f"sampler must be one of {known}, but is {self.sampler!r}")

    def as_json(self) -> dict[str, Any]:
        """Plain dicts and scalars; kept in the log, so that a refusal can say what differs."""
        return {
            "study": self.study,
            "arm": self.arm,
            "direction": "maximize",
            "sampler": self.sampler,
            "space": {name: asdict(self.space[name]) for name in sorted(self.space)},
            "start": {name: float(self.start[name]) for name in sorted(self.start)},
        }

    def seed(self, number: int) -> int:
        """Seed of the sampler for trial `number`: restarts neither repeat points nor change them."""
        return _hashed(self.study, self.arm, number) >> 32

    def random_point(self, number: int) -> dict[str, float]:
        """A point at random, a function of study, trial number and parameter names, but not of the arm.

        So trial 3 has the same learning rate in every arm: else one arm would be luckier with it than another, which
        all bases would share and no interval would contain.
        """
        shares = {name: _hashed(self.study, number, name) / 2**64 for name in sorted(self.space)}
        return {name: self.space[name].at(share) for name, share in shares.items()}


def _hashed(*keys: str | int) -> int:
    """A number in [0, 2^64)."""
    return int.from_bytes(hashlib.sha256(json.dumps(keys).encode()).digest()[:8], "big")


def winner(trials: Iterable[Trial]) -> Trial | None:
    """The complete trial with the highest objective, the earliest of equals; None without complete trials."""
    complete = [t for t in trials if t.state is TrialState.COMPLETE and t.objective is not None]
    return max(complete, key=lambda t: (t.objective, -t.number), default=None)
