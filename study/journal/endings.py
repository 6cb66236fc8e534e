"""How an attempt ended without a last word of its own, or by a signal; an orchestrator finds out and keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self


class EndKind(StrEnum):
    """Classes of endings; what to do about each is the orchestrator's policy."""

    STOPPED = "stopped"  # we asked it to
    NOT_STARTED = "not started"  # given back before it began
    PREEMPTED = "preempted"
    NODE_LOST = "node lost"
    OUT_OF_TIME = "out of time"
    HOST_MEMORY = "out of host memory"
    CANCELLED = "cancelled by the user"
    WORKER_CANCELLED = "worker cancelled by the user"  # a job of many runs, none of which is meant
    DISK = "disk"  # its process could not even write down that the disk is full
    LAUNCH_FAILED = "launch failed"
    HUNG = "hung"
    LOST = "lost"  # its process ended, nobody says why


@dataclass(frozen=True)
class Ending:
    """One ending.

    Attributes:
        kind: its class.
        message: what is known, for people.
        node: where it happened.
    """

    kind: EndKind
    message: str
    node: str | None = None

    @property
    def is_trouble(self) -> bool:
        """Whether nobody wanted it; stopping, and giving back what had not begun, is order."""
        return self.kind not in (EndKind.STOPPED, EndKind.NOT_STARTED)

    def as_json(self) -> dict[str, Any]:
        """Plain dicts and scalars."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `as_json` wrote; other keys are ignored."""
        return cls(EndKind(data["kind"]), data["message"], data.get("node"))

    def __str__(self) -> str:
        where = f" on {self.node}" if self.node else ""
        return f"{self.kind}{where}: {self.message}"
