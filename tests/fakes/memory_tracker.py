"""A tracker in memory that fails when it is told to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from study.tracking.base import Experiment, MetricRow, RejectedError, RunStatus, TrackerError, UnknownRunError


@dataclass
class MemoryRun:
    """What the tracker knows about a run."""

    experiment: str
    key: str
    start_ms: int
    parent: str | None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    rows: list[MetricRow] = field(default_factory=list)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    status: RunStatus = RunStatus.RUNNING
    end_ms: int = 0

    def values(self, key: str) -> dict[int, float]:
        """Step → value of one metric."""
        return {row.step: row.value for row in self.rows if row.key == key}


class MemoryTracker:
    """Keeps everything in `runs`, by id; `calls` names the methods that were called.

    Attributes:
        rejects: keys of runs whose metrics are refused.
        before: called with the name of a method before it does anything; may raise.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.rejects: set[str] = set()
        self.before: Callable[[str], None] = lambda _: None
        self.is_down = False
        self.wipe()

    def wipe(self) -> None:
        """Forget everything and become another store."""
        self.runs: dict[str, MemoryRun] = {}
        self.store = object()

    def by_key(self, key: str) -> MemoryRun:
        """The one run with this key."""
        (run,) = [run for run in self.runs.values() if run.key == key]
        return run

    def ensure_experiment(self, name: str) -> Experiment:
        self._call("ensure_experiment")
        return Experiment(name, f"{name}-{id(self.store)}")

    def ensure_run(self, experiment: Experiment, key: str, *, start_ms: int, parent: str | None) -> str:
        self._call("ensure_run")
        for name, run in self.runs.items():
            if (run.experiment, run.key) == (experiment.id, key):
                return name
        name = f"run-{len(self.runs)}"
        self.runs[name] = MemoryRun(experiment.id, key, start_ms, parent)
        return name

    def log_params(self, run: str, params: Mapping[str, str]) -> None:
        self._call("log_params")
        self._run(run).params = {**params, **self._run(run).params}

    def log_metrics(self, run: str, rows: Sequence[MetricRow]) -> None:
        self._call("log_metrics")
        known = self._run(run)
        if known.key in self.rejects:
            raise RejectedError("no such metrics, please")
        present = {_identity(row) for row in known.rows}
        known.rows += [row for row in rows if _identity(row) not in present]

    def set_tags(self, run: str, tags: Mapping[str, str]) -> None:
        self._call("set_tags")
        self._run(run).tags |= tags

    def log_artifact(self, run: str, file: Path, folder: str = "") -> None:
        self._call("log_artifact")
        self._run(run).artifacts[f"{folder}/{file.name}".removeprefix("/")] = file.read_bytes()

    def set_status(self, run: str, status: RunStatus, end_ms: int) -> None:
        self._call("set_status")
        self._run(run).status, self._run(run).end_ms = status, end_ms

    def _run(self, run: str) -> MemoryRun:
        if run not in self.runs:
            raise UnknownRunError(run)
        return self.runs[run]

    def _call(self, name: str) -> None:
        self.calls.append(name)
        self.before(name)
        if self.is_down:
            raise TrackerError("the tracker is down")


def _identity(row: MetricRow) -> tuple[object, ...]:
    return (row.key, row.timestamp_ms, row.step, "nan" if math.isnan(row.value) else row.value)
