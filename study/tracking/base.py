"""What a tracker must offer for journals to be published to it.

Any method may be repeated with equal arguments without leaving a trace, but `create_run`: a killed publisher does it
again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Protocol

from study.errors import StudyError
from study.tracking.identity import Home

KEY_TAG, STUDY_TAG = "study.run_id", "study.study"
HOME_TAG, HOST_TAG, PATH_TAG = "study.home", "study.host", "study.path"
SENT_TAG = "study.sent"  # stands for all that was sent of a run, or of all runs of a study
PARENT_TAG, NAME_TAG = "mlflow.parentRunId", "mlflow.runName"
SUPERSEDED_TAG = "study.superseded"  # why a run or an experiment is out of date; nothing is written to it any more


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


class Tracked(NamedTuple):
    """A run as the tracker has it.

    Attributes:
        id: the tracker's word for it.
        status: in MLflow's words.
        is_deleted: it can be restored.
        params: they cannot change.
        tags: all of them.
    """

    id: str
    status: str
    is_deleted: bool
    params: Mapping[str, str]
    tags: Mapping[str, str]


class Page(NamedTuple):
    """Some runs, and what to ask for to get the next ones; "" when there are none."""

    runs: list[Tracked]
    after: str


@dataclass(frozen=True)
class Experiment:
    """A named group of tracked runs.

    Attributes:
        id: the tracker's word for it.
        store: identifies this very instance of the store; another or a wiped one has another identity.
        name: its name in the tracker.
        artifacts: where its artifacts lie, as the tracker has it.
        is_own: the store belongs to the home: nobody else publishes to it.
        other: tags of the experiment that has the wished name, when it belongs to another home.
        moved_from: where artifacts were kept until now, when the home has moved away from there.
    """

    id: str
    store: str
    name: str = ""
    artifacts: str = ""
    is_own: bool = False
    other: Mapping[str, str] | None = None
    moved_from: str = ""


class Tracker(Protocol):
    """Where runs are published.

    Raises:
        TrackerError: from any method.
    """

    def ensure_experiment(
        self, name: str, home: Home | None = None, *, known: str = "", is_shared: bool = False
    ) -> Experiment:
        """Return the experiment of a home that is called `name`, created if need be.

        Args:
            name: the wished name; another home that has it keeps it, and ours gets a suffix.
            home: whose it is.
            known: `Experiment.store` of the last time.
            is_shared: all homes use the same one, if they can.

        Raises:
            TwinError: a copy of the home publishes under the same identity.
        """
        ...

    def find_runs(self, experiment: Experiment, key: str) -> list[Tracked]:
        """The runs tagged `KEY_TAG` = `key`, deleted ones too."""
        ...

    def members(
        self, experiment: Experiment, tag: str, value: str, *, after: str = "", size: int, is_deleted: bool = False
    ) -> Page:
        """At most `size` runs with the tag, in an order that stays as long as no run comes or goes."""
        ...

    def create_run(self, experiment: Experiment, key: str, *, start_ms: int, tags: Mapping[str, str]) -> None:
        """Create a run tagged `KEY_TAG` = `key` and named so; more than one when a response is lost."""
        ...

    def restore_run(self, run: str) -> None:
        """Bring a deleted run back."""
        ...

    def delete_run(self, run: str) -> None:
        """Delete a run; it can be restored."""
        ...

    def log_params(self, run: str, params: Mapping[str, str]) -> None:
        """Write parameters, once: those that the run has keep their value."""
        ...

    def log_metrics(self, run: str, rows: Iterable[MetricRow]) -> int:
        """Add rows; those that the run has are not added again. Return how many were sent."""
        ...

    def set_tags(self, run: str, tags: Mapping[str, str | None]) -> None:
        """Set or replace tags; None removes one."""
        ...

    def log_artifact(self, experiment: Experiment, run: str, file: Path, folder: str = "") -> None:
        """Put a copy of `file` into a folder of the run's artifacts, replacing an older copy."""
        ...

    def attached(self, experiment: Experiment, run: str) -> frozenset[str] | None:
        """Paths of the run's artifacts; None when that cannot be found out."""
        ...

    def without_artifact(self, experiment: Experiment, runs: Collection[str], name: str) -> frozenset[str]:
        """Those of the runs that lack an artifact called `name`, as far as that can be found out at once."""
        ...

    def set_status(self, run: str, status: RunStatus, end_ms: int) -> None:
        """Set the status, and the end when the run is over."""
        ...
