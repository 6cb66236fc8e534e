"""What an attempt is at, and the evidence that it works: a file that it replaces every two seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Self


class Stage(StrEnum):
    """Part of an attempt."""

    STARTING = "starting"  # before the first step: reading data, weights, checkpoints; compiling
    TRAINING = "training"
    EVALUATING = "evaluating"


@dataclass(frozen=True)
class Heartbeat:
    """One beat.

    Attributes:
        t: when, in seconds since the epoch by the worker's clock.
        phase: see `Stage`.
        what: key of the evaluation.
        step, num_steps: of the training.
        done: units of work done since the attempt began, e.g. batches that were represented.
        cpu_s: CPU seconds of the process and of its children that have ended.
        read_mb: megabytes that the process has read, from caches too.
    """

    t: float = 0.0
    phase: Stage = Stage.STARTING
    what: str = ""
    step: int = 0
    num_steps: int = 0
    done: int = 0
    cpu_s: float = 0.0
    read_mb: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain scalars."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> Self:
        """What `as_json` wrote; None: there was no beat yet. Beats of earlier releases are those of trainings."""
        if data is None:
            return cls()
        known = {field.name: data[field.name] for field in fields(cls) if field.name in data}
        return cls(**{**known, "phase": Stage(data.get("phase", Stage.TRAINING))})
