"""What an executor is: it starts attempts somewhere and knows which of them still run."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from study.journal import process
from study.journal.replay import AttemptState, AttemptStatus
from study.paths import AttemptPaths

_START_PATIENCE_S = 60.0  # a fork server that has just been started takes seconds


class Executor(ABC):
    """Base of all executors.

    Attributes:
        name: recorded with every attempt.
        slots: how many attempts may run at once.
    """

    name: str
    slots: int

    @abstractmethod
    def submit(self, attempt: AttemptPaths) -> Mapping[str, Any]:
        """Start the attempt and return what identifies it to this executor; kept in job.json."""

    @abstractmethod
    def is_alive(self, attempt: AttemptState) -> bool:
        """Whether the attempt's process may still write; asked of an earlier orchestrator's attempts too."""

    @abstractmethod
    def stop(self, attempt: AttemptState) -> None:
        """Ask the attempt to save and leave; returns at once."""

    @abstractmethod
    def close(self) -> None:
        """Release what the executor holds; attempts that run go on."""


def intender_lives(attempt: AttemptState) -> bool:
    """Whether another orchestrator of this host, still running, is about to start an attempt that nobody has claimed.

    It happens to bases, which studies of a home share.
    """
    is_recent = time.time() - float(attempt.job.get("intent_t", 0)) < _START_PATIENCE_S
    return attempt.status is AttemptStatus.INTENDED and is_recent and belongs_to_another(attempt)


def belongs_to_another(attempt: AttemptState) -> bool:
    """Whether another orchestrator of this host, still running, has made the attempt."""
    owner = attempt.job.get("orchestrator", {})
    return process.is_on_this_host(owner) and owner.get("pid") != os.getpid() and process.is_alive(owner)


def claimant_lives(attempt: AttemptState) -> bool:
    """Whether the process that claimed an attempt runs on this host."""
    claim = attempt.claim
    if claim is None or attempt.status is AttemptStatus.REVOKED:
        return False
    return process.is_on_this_host(claim) and process.is_alive(claim)
