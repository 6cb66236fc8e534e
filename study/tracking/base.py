"""What a tracker must offer for journals to be published to it.

Any method may be repeated with equal arguments without leaving a trace: a killed publisher does it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Protocol

from study.errors import StudyError

KEY_TAG = "study.run_id"


class TrackerError(StudyError):
    """The tracker cannot be reached or does not work; try again later."""


class RejectedError(TrackerError):
    """The tracker works, but refuses this; the rest can be published."""


class UnknownRunError(TrackerError):
    """The tracker does not know the run (any more)."""


class RunStatus(StrEnum):
    """Status of a tracked run, in MLflow's words."""

    SCHEDULED = "SCHEDULED"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"

    @property
    def is_over(self) -> bool:
        """Whether the run has an end."""
        return self not in (RunStatus.SCHEDULED, RunStatus.RUNNING)


class MetricRow(NamedTuple):
    """One value of one metric.

    Attributes:
        key: metric name.
        value: may be NaN or infinite.
        timestamp_ms: from the journal, never the clock: an equal row is the same row.
        step: optimiser steps so far.
    """

    key: str
    value: float
    timestamp_ms: int
    step: int


@dataclass(frozen=True)
class Experiment:
    """A named group of tracked runs.

    Attributes:
        id: the tracker's word for it.
        store: identifies this very instance of the store; another or a wiped one has another identity.
    """

    id: str
    store: str


class Tracker(Protocol):
    """Where runs are published.

    Raises:
        TrackerError: from any method.
    """

    def ensure_experiment(self, name: str) -> Experiment:
        """Return the experiment called `name`, created if need be."""
        ...

    def ensure_run(self, experiment: Experiment, key: str, *, start_ms: int, parent: str | None) -> str:
        """Return the id of the run tagged `KEY_TAG` = `key`, created and named so if need be."""
        ...

    def log_params(self, run: str, params: Mapping[str, str]) -> None:
        """Write parameters, once: those that the run has keep their value."""
        ...

    def log_metrics(self, run: str, rows: Sequence[MetricRow]) -> None:
        """Add rows; those that the run has are not added again."""
        ...

    def set_tags(self, run: str, tags: Mapping[str, str]) -> None:
        """Set or replace tags."""
        ...

    def log_artifact(self, run: str, file: Path, folder: str = "") -> None:
        """Put a copy of `file` into a folder of the run's artifacts, replacing an older copy."""
        ...

    def set_status(self, run: str, status: RunStatus, end_ms: int) -> None:
        """Set the status, and the end when the run is over."""
        ...
