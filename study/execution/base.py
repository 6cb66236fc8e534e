"""What an executor is: it starts attempts somewhere and knows which of them still run."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from study.journal import process
from study.journal.endings import Ending, EndKind
from study.journal.replay import AttemptState, AttemptStatus
from study.paths import AttemptPaths

_START_PATIENCE_S = 60.0  # a fork server that has just been started takes seconds
_ELSEWHERE_PATIENCE_S = 600.0  # whether an orchestrator of another host lives cannot be seen; its jobs may queue
_QUIET_S = 120.0  # an attempt on another host that has been quiet for longer is given up


class Executor(ABC):
    """Base of all executors.

    Attributes:
        name: recorded with every attempt.
        slots: how many attempts may run at once.
    """

    name: str
    slots: int

    @property
    def capacity(self) -> int:
        """How many attempts it takes: those that run, and those that wait for their turn beside them."""
        return self.slots

    @abstractmethod
    def submit(self, attempt: AttemptPaths) -> Mapping[str, Any]:
        """Start the attempt and return what identifies it to this executor; kept in job.json."""

    @abstractmethod
    def is_alive(self, attempt: AttemptState) -> bool:
        """Whether the attempt's process may still write; asked of an earlier orchestrator's attempts too."""

    @abstractmethod
    def stop(self, paths: AttemptPaths, attempt: AttemptState) -> bool:
        """Ask the attempt to save and leave; returns at once. False: it cannot be asked yet, try again."""

    @abstractmethod
    def kill(self, attempt: AttemptState) -> None:
        """End the attempt's process, which does not listen any more."""

    @abstractmethod
    def close(self) -> None:
        """Release what the executor holds; attempts that run go on."""

    def cancel(self) -> None:  # noqa: B027 - most executors have nothing beyond the attempts that `kill` ends
        """End everything at once, saved or not."""

    def is_paused(self, attempt: AttemptState) -> bool:
        """Whether no progress can be expected: the attempt has not begun, or is suspended."""
        return attempt.claim is None

    def closed(self) -> str | None:
        """Why nothing more is started until the command is started again; None: all is well."""
        return None

    def has_ended(self, attempt: AttemptState) -> bool:  # noqa: ARG002 - the interface
        """Whether the attempt is known to have ended, without looking at any file: who says so is looked at first."""
        return False

    def poll(self) -> list[str]:
        """Do what is due; called in every turn of the orchestrator. Returns what people should know."""
        return []

    def ending(self, attempt: AttemptState) -> Ending | None:
        """How an attempt ended that is not alive, or was told to stop; None: not known yet, ask again."""
        if seems_alive(attempt):
            return None  # it was read anew since somebody asked
        if attempt.status is AttemptStatus.STOPPED:
            return Ending(EndKind.STOPPED, f"asked by {(attempt.last_event or {}).get('reason')}")
        return Ending(EndKind.LOST, "its process ended without a last word")


def intender_lives(attempt: AttemptState) -> bool:
    """Whether another orchestrator is about to start an attempt that nobody has claimed.

    It happens to bases, which studies of a home share. On this host its process tells, and a job of SLURM may wait
    for as long as that lives; on another host it is believed for some minutes.
    """
    if attempt.status is not AttemptStatus.INTENDED:
        return False
    age_s = time.time() - float(attempt.job.get("intent_t", 0))
    if process.is_on_this_host(attempt.job.get("orchestrator", {})):
        return belongs_to_another(attempt) and (age_s < _START_PATIENCE_S or attempt.job.get("executor") == "slurm")
    return age_s < _ELSEWHERE_PATIENCE_S


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


def seems_alive(attempt: AttemptState) -> bool:
    """Whether a claimed attempt lives: on this host its process tells, elsewhere its journal or heartbeat has news."""
    if attempt.claim is None or attempt.status is AttemptStatus.REVOKED or process.is_on_this_host(attempt.claim):
        return claimant_lives(attempt)
    newest = float((attempt.last_event or attempt.job).get("t", attempt.job.get("intent_t", 0)))
    return not attempt.is_over and time.time() - max(newest, attempt.beat_t) < _QUIET_S
